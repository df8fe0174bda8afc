"""Ask PyPI's advisories about what is installed: ``python deploy/audit.py PIP_AUDIT SITE_PACKAGES``, or ``make audit``.

pip-audit by itself says that it found nothing also where it could not ask: a package that the index's advisory service
does not know is skipped, and a mirror knows none. Here, what was not asked has not passed.

Exits with 0 if all was asked about and nothing was found, 1 if something was found, 75 if it could not ask about all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FOUND, NOT_ASKED = 1, 75
OWN = frozenset({"saddle", "saddle-client"})
_MOST_NAMED = 5


def main(pip_audit: str, packages: str) -> int:
    """Run pip-audit on a directory of packages and say what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "audit.json"
        options = ["--path", packages, "--format", "json", "--output", str(report), "--progress-spinner", "off"]
        ran = subprocess.run([pip_audit, *options], capture_output=True, text=True, check=False)
        if not report.is_file():
            reason = ran.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            print(f"audit: could not ask the advisory service: {reason[0]}", file=sys.stderr)
            return NOT_ASKED
        status, lines = judged(json.loads(report.read_bytes()))
    print("\n".join(lines), file=sys.stderr if status else sys.stdout)
    return status


def judged(report: dict[str, Any]) -> tuple[int, list[str]]:
    """Exit status and what to say of pip-audit's report."""
    asked = [one for one in report["dependencies"] if one["name"] not in OWN]
    skipped = [one["name"] for one in asked if "skip_reason" in one]
    found = [
        f"audit: {one['name']} {one['version']} has {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'none'}"
        for one in asked
        for flaw in one.get("vulns", ())
    ]
    if skipped:
        named = ", ".join(skipped[:_MOST_NAMED]) + (", …" if len(skipped) > _MOST_NAMED else "")
        found.append(
            f"audit: could not ask about {len(skipped)} of {len(asked)} packages, which the advisory service of this "
            f"index does not know: {named}"
        )
        return (FOUND if len(found) > 1 else NOT_ASKED), found
    return (FOUND, found) if found else (0, [f"audit: nothing is known against any of {len(asked)} packages"])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
