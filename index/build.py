"""Building a snapshot: a catalogue streamed into its channels, indexed, calibrated, fused, published."""

from __future__ import annotations

import os
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

from index.behaviour import BehaviourChannel
from index.behaviour_files import learnt_on
from index.behaviour_files import write as write_behaviour
from index.calibration import QUERIES, Calibration, sample_queries
from index.candidates import CandidateIndex
from index.channels import Channels
from index.column_files import COLUMNS, ColumnsWriter
from index.device import CPU
from index.documents import Documents, DocumentWriter
from index.familiarity import check_familiar
from index.fusion import Fusion
from index.journal import JOURNAL, Journal
from index.learning import Teaching, learn_fusion, read_dev_judgments, with_later_clicks
from index.lexical import LEXICAL, LexicalIndex, LexicalWriter
from index.live import nothing
from index.picture_files import PictureCensus, PictureWriter
from index.points import PointsWriter, load_points
from index.root import adopt, drafting, publish
from index.shapes import Choice, contenders
from index.snapshot import (
    BEHAVIOUR,
    CANDIDATES,
    ENCODER,
    PICTURES,
    POINTS,
    CandidateSettings,
    Contents,
    JournalMark,
    RejectSummary,
)
from index.view import View
from model import bundle
from model.catalog import Rejects, fingerprint, read_products, searchable_text
from model.image.runtime import ImageEncoder
from model.runtime import TextEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from index.device import Device
    from model.behaviour.vectors import BehaviourVectors
    from model.catalog import Product

Stage = Literal["encode", "words", "columns", "measure", "index", "calibrate", "clicks", "fuse"]

_BATCH = 4096
_FAMILIAR_TITLES = 2000
_SEED = 20


class BuildError(ValueError):
    """A snapshot that cannot be built from this catalogue."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build made, and how long each stage took."""

    snapshot: str
    directory: Path
    model: str
    behaviour: str | None
    """Version of the behaviour bundle inside, if there is one."""
    pictures: PictureCensus | None
    """What became of the products' pictures, if there is a channel of them."""
    catalog: str
    products: int
    clicked: int
    """How many of them the behaviour channel knows by clicks."""
    folded: int
    """Live changes that were newer than the catalogue."""
    rejects: int
    reasons: Mapping[str, int]
    candidates: CandidateSettings
    fusion: Fusion
    seconds: Mapping[Stage, float]
    total_seconds: float

    @property
    def products_per_second(self) -> float:
        """Products indexed per second of the whole build, reading and calibration included."""
        return self.products / self.total_seconds

    @property
    def meets_target(self) -> bool:
        """Whether the recall that was asked for was reached."""
        return self.candidates.recall >= self.candidates.target_recall


@dataclass(slots=True)
class _Clock:
    """Tells the listener how far each stage is, and keeps how long it took."""

    listener: Callable[[Stage, int, int | None], None]
    seconds: dict[Stage, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: Stage) -> Iterator[Callable[[int, int | None], None]]:
        started = time.perf_counter()
        yield lambda done, total: self.listener(name, done, total)
        self.seconds[name] = time.perf_counter() - started


def build(
    *,
    bundle_dir: Path,
    catalog: Path,
    root: Path,
    target_recall: float = 0.98,
    backend: Choice = "auto",
    max_reject_share: float = 0.05,
    rejects_path: Path | None = None,
    queries: Sequence[str] | None = None,
    judgments: Path | None = None,
    behaviour: Path | None = None,
    images: Path | None = None,
    image_root: Path | None = None,
    allow_foreign: bool = False,
    as_of: float | None = None,
    threads: int | None = None,
    device: Device = CPU,
    on_progress: Callable[[Stage, int, int | None], None] = lambda _stage, _done, _total: None,
) -> BuildReport:
    """Index ``catalog`` with the encoder in ``bundle_dir``, and make it the current snapshot of ``root``.

    Until the last step nothing of it can be seen in ``root``, and the snapshot before goes on serving.

    Args:
        bundle_dir: an encoder bundle.
        catalog: a CSV, JSONL or Parquet file of products.
        root: the index root; made if it does not exist.
        target_recall: share of the exact containment top 100 that the candidates must hold.
        backend: what candidates are found by; ``auto`` tries those that are likely for this many products, ``all``
            tries every one, and the fastest that reaches ``target_recall`` is kept.
        max_reject_share: share of bad rows above which nothing is published.
        rejects_path: file to list the bad rows in, if there are any.
        queries: queries to calibrate on, sampled if there are many; by default the judged dev queries, or words cut
            from titles if there are none.
        judgments: a CSV, JSONL or Parquet file of judged pairs, to learn the fusion of the channels on its dev
            queries; without it, or with too few of them, their ranks are fused.
        behaviour: a behaviour bundle on top of the encoder bundle, to add its channel; the later clicks in it teach
            the fusion too, while pairs that it was trained on do not.
        images: an image bundle, to add a channel of the products' pictures.
        image_root: where the files are that the catalogue's column ``image`` names; not needed for pictures that it
            holds itself.
        allow_foreign: accept a bundle that knows few of the catalogue's words.
        as_of: when the catalogue was true, in Unix seconds, by default when its file was last written. Of the live
            changes in the journal of ``root``, those that came later are folded in, and those before are done with.
        threads: threads to encode with; by default as many as there are cores.
        device: where the encoder runs.
        on_progress: hears the stage, how much of it is done, and of how much, if that is known.

    Raises:
        BuildError: the catalogue holds no usable product, or is older than what was pruned from the journal.
        UnfamiliarError: the encoder bundle knows few of the catalogue's words.
        BundleError, BehaviourBundleError, ImageBundleError: a bundle is not sound.
        NoPicturesError: there are ``images``, and not one product has a picture that can be read.
        CatalogError: the catalogue or the judgments cannot be read, or too many of their rows are bad.
        SnapshotError: another build is writing to ``root``.
    """
    started = time.perf_counter()
    clock = _Clock(on_progress)
    encoder = TextEncoder(bundle_dir, threads=threads or os.cpu_count() or 1, gpu=device.number)
    learnt = None if behaviour is None else learnt_on(encoder, behaviour)
    viewer = None if images is None else ImageEncoder(images, threads=threads or os.cpu_count() or 1)
    rejects = Rejects()
    source = fingerprint(catalog)
    judged = read_dev_judgments(judgments, max_reject_share=max_reject_share) if judgments else {}
    as_of = catalog.stat().st_mtime if as_of is None else as_of
    with drafting(root) as draft:
        mark, changed = _changes(root, after=as_of)
        products = _folded(read_products(catalog, rejects), changed)
        first = list(islice(products, _FAMILIAR_TITLES))
        if not allow_foreign:
            check_familiar(encoder, first, catalog=catalog, source=source)
        terms, columns = LexicalWriter(), ColumnsWriter()
        pictures = None
        if images is not None and viewer is not None:
            pictures = PictureWriter(draft / PICTURES, images, viewer, image_root)
        with clock.stage("encode") as progress:
            count = _encode(chain(first, products), encoder, terms, columns, pictures, draft, progress)
        _check_rejects(rejects, rejects_path, max_reject_share)
        if count == 0:
            raise BuildError(f"{catalog} holds no usable product: all {rejects.count} rows were rejected")
        with clock.stage("words") as progress:
            progress(0, count)
            terms.save(draft / LEXICAL)
            progress(count, count)
        with clock.stage("columns") as progress:
            progress(0, count)
            columns.save(draft / COLUMNS)
            progress(count, count)
        if pictures is not None:
            pictures.save()
        candidates, settings = _index(
            draft, encoder, clock, backend=backend, target_recall=target_recall, queries=queries or list(judged)
        )
        adopt(bundle_dir, bundle.FILES, draft / ENCODER)
        clicked = _add_behaviour(behaviour, learnt, draft, encoder, clock) if behaviour and learnt else 0
        teaching = (
            Teaching(judged) if learnt is None else with_later_clicks(judged, judgments, learnt, encoder.manifest)
        )
        fusion = _fuse(draft, encoder, clock, candidates, settings, teaching) if teaching.grades else Fusion()
        contents = Contents(
            model=encoder.manifest.version,
            geometry=encoder.manifest.geometry,
            products=count,
            candidates=settings,
            fusion=fusion,
            behaviour=None if learnt is None else learnt.manifest.version,
            pictures=None if viewer is None else viewer.manifest.version,
            catalog=source,
            as_of=as_of,
            journal=mark,
            rejects=RejectSummary(count=rejects.count, reasons=dict(rejects.reasons)),
        )
        place = publish(root, draft, contents)
    return BuildReport(
        snapshot=place.name,
        directory=place,
        model=encoder.manifest.version,
        behaviour=None if learnt is None else learnt.manifest.version,
        pictures=None if pictures is None else pictures.census,
        catalog=source,
        products=count,
        clicked=clicked,
        folded=len(changed),
        rejects=rejects.count,
        reasons=dict(rejects.reasons),
        candidates=settings,
        fusion=fusion,
        seconds=clock.seconds,
        total_seconds=time.perf_counter() - started,
    )


def _changes(root: Path, *, after: float) -> tuple[JournalMark | None, Mapping[str, Product | None]]:
    """How far the journal of ``root`` reaches by now, and what it says of products since ``after``, by their ids."""
    path = root / JOURNAL
    if not path.is_file():
        return None, {}
    with Journal(path) as journal:
        if after < journal.pruned_before():
            raise BuildError(
                f"the catalogue is of {_moment(after)}, but live changes until {_moment(journal.pruned_before())} "
                "were pruned: give a newer catalogue, or say with --as-of when it was true"
            )
        last = journal.last()
        entries = journal.since(0, upto=last)
        mark = JournalMark(id=journal.id, sequence=last)
        return mark, {entry.change.product_id: entry.change.product for entry in entries if entry.changed > after}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(sep=" ", timespec="seconds")


def _folded(products: Iterator[Product], changed: Mapping[str, Product | None]) -> Iterator[Product]:
    """The products of the catalogue as the changes made them."""
    yield from (product for product in products if product.product_id not in changed)
    yield from (product for product in changed.values() if product is not None)


def _encode(
    products: Iterator[Product],
    encoder: TextEncoder,
    terms: LexicalWriter,
    columns: ColumnsWriter,
    pictures: PictureWriter | None,
    draft: Path,
    progress: Callable[[int, int | None], None],
) -> int:
    """Write points, documents and pictures of all ``products`` into ``draft``, by batches; collect terms and columns.

    Returns their number.
    """
    count = 0
    dim = encoder.manifest.geometry.dim
    with PointsWriter(draft / POINTS, dim=dim) as points, DocumentWriter(draft) as documents:
        while batch := list(islice(products, _BATCH)):
            texts = [searchable_text(product) for product in batch]
            points.append(encoder.encode_products(texts))
            terms.append(texts)
            documents.append(batch)
            columns.append(batch)
            if pictures is not None:
                pictures.append(batch)
            count += len(batch)
            progress(count, None)
    return count


def _check_rejects(rejects: Rejects, path: Path | None, max_share: float) -> None:
    """List the bad rows before deciding whether they are too many: whoever must mend them needs the list."""
    if path is not None and rejects.count:
        path.parent.mkdir(parents=True, exist_ok=True)
        rejects.write(path)
    rejects.check(max_share)


def _index(
    draft: Path,
    encoder: TextEncoder,
    clock: _Clock,
    *,
    backend: Choice,
    target_recall: float,
    queries: Sequence[str] | None,
) -> tuple[CandidateIndex, CandidateSettings]:
    """Build the likely candidate indexes of the points in ``draft``, try them, and keep the best."""
    points = load_points(draft / POINTS)
    geometry = encoder.manifest.geometry
    with clock.stage("measure") as progress:
        calibration = Calibration(
            points,
            encoder.encode_queries(_some(queries) if queries else _own_queries(draft)),
            geometry=geometry,
            target_recall=target_recall,
            on_progress=progress,
        )
        shapes = contenders(backend, len(points), lifted=backend == "all" or calibration.lift_pays())
    built: list[CandidateIndex] = []
    with clock.stage("index") as progress:
        total = len(shapes) * len(points)
        for shape in shapes:
            built.append(
                CandidateIndex.build(
                    points,
                    c=geometry.curvature,
                    shape=shape,
                    on_progress=partial(_further, progress, before=len(built) * len(points), total=total),
                )
            )
    with clock.stage("calibrate") as progress:
        trials = []
        for index in built:
            trials.append(calibration.trial(index))
            progress(len(trials), len(built))
        settings = calibration.settings(trials)
    best = built[shapes.index(settings.shape)]
    best.save(draft / CANDIDATES)
    return best, settings


def _further(progress: Callable[[int, int | None], None], done: int, *, before: int, total: int) -> None:
    progress(before + done, total)


def _add_behaviour(bundle_dir: Path, learnt: BehaviourVectors, draft: Path, encoder: TextEncoder, clock: _Clock) -> int:
    """Add the behaviour channel to ``draft``; returns how many products clicks know."""
    documents, points = Documents(draft), load_points(draft / POINTS)
    try:
        with clock.stage("clicks") as progress:
            progress(0, len(points))
            curvature = encoder.manifest.geometry.curvature
            clicked = write_behaviour(draft / BEHAVIOUR, bundle_dir, learnt, documents, points, c=curvature)
            progress(len(points), len(points))
            return clicked
    finally:
        documents.close()


def _fuse(
    draft: Path,
    encoder: TextEncoder,
    clock: _Clock,
    candidates: CandidateIndex,
    settings: CandidateSettings,
    teaching: Teaching,
) -> Fusion:
    """Learn from judged queries how the channels in ``draft`` are fused."""
    documents = Documents(draft)
    try:
        points, lexical = load_points(draft / POINTS), LexicalIndex.load(draft / LEXICAL)
        curvature = encoder.manifest.geometry.curvature
        behaviour = BehaviourChannel(draft / BEHAVIOUR, c=curvature) if (draft / BEHAVIOUR).is_dir() else None
        channels = Channels(encoder, candidates, settings, lexical, behaviour=behaviour)
        view = View(points, nothing(len(points), dim=encoder.manifest.geometry.dim))
        with clock.stage("fuse") as progress:
            return learn_fusion(teaching, channels, view, documents, on_progress=progress)
    finally:
        documents.close()


def _some(queries: Sequence[str]) -> Sequence[str]:
    """All of ``queries``, or a sample if they are more than a calibration needs."""
    chance = random.Random(_SEED)  # noqa: S311 - a sample, not a secret
    return chance.sample(queries, QUERIES) if len(queries) > QUERIES else queries


def _own_queries(draft: Path) -> list[str]:
    """Queries cut from titles of the catalogue in ``draft``."""
    documents = Documents(draft)
    try:
        stride = max(1, len(documents) // QUERIES)
        titles = [documents.product(row).title for row in range(0, len(documents), stride)]
    finally:
        documents.close()
    return sample_queries(titles, count=QUERIES, seed=_SEED)
