// The console: asks /v1/search and shows what comes back. Texts of the catalogue are only ever set as textContent.

const PAGE = 24;
const MAX_WINDOW = 10_000;
const form = document.querySelector("#search");
const field = document.querySelector("#query");
const mode = document.querySelector("#mode");
const operators = document.querySelector("#operators");
const status = document.querySelector("#status");
const hits = document.querySelector("#hits");
const more = document.querySelector("#more");
const template = document.querySelector("#hit");
const entry = document.querySelector("#entry");
const key = document.querySelector("#key");
const KEY = "saddle.key"; // of this tab alone, and gone with it

function headers() {
  const known = sessionStorage.getItem(KEY);
  return known ? { Authorization: `Bearer ${known}` } : {};
}

let asked = new URLSearchParams();
let latest = 0;

function card({ product, product_id, score, distance, contained }) {
  const item = template.content.cloneNode(true);
  const show = (name, text) => {
    item.querySelector(`.${name}`).textContent = text;
  };
  show("title", product.title);
  show("brand", product.brand);
  show("category", product.category_path);
  show("price", product.price === null ? "–" : product.price.toFixed(2));
  show("score", score.toFixed(4));
  show("distance", distance.toFixed(4));
  show("id", product_id);
  item.querySelector(".contained").hidden = !contained;
  return item;
}

function say(text, { failed = false } = {}) {
  status.textContent = text;
  status.classList.toggle("failed", failed);
}

function summary({ total, generality, took_ms, snapshot }) {
  const counted = `${total.relation === "gte" ? "at least " : ""}${total.value} product${total.value === 1 ? "" : "s"}`;
  const breadth = generality === null ? "no volume" : `generality ${generality.toFixed(1)}`;
  return `${counted} in the hyperboloid · ${breadth} · ${took_ms.toFixed(1)} ms · snapshot ${snapshot}`;
}

async function search(offset) {
  const turn = ++latest; // an answer that a newer search overtook is dropped
  more.hidden = true;
  say("Searching…");
  try {
    const parameters = new URLSearchParams(asked);
    parameters.set("limit", Math.min(PAGE, MAX_WINDOW - offset));
    parameters.set("offset", offset);
    const response = await fetch(`/v1/search?${parameters}`, { headers: headers() });
    const body = await response.json();
    if (turn !== latest) return;
    entry.hidden = response.status !== 401 && response.status !== 403;
    if (!entry.hidden) key.focus();
    if (!response.ok) {
      say(body.detail, { failed: true });
      return;
    }
    hits.append(...body.hits.map(card));
    more.hidden = body.hits.length < PAGE || offset + PAGE >= MAX_WINDOW;
    say(hits.children.length ? summary(body) : "No products.");
  } catch {
    if (turn === latest) say("The service does not answer. Is it still running?", { failed: true });
  }
}

function start() {
  const given = new URLSearchParams(location.search);
  field.value = given.get("q") ?? "";
  mode.value = given.get("mode") ?? "hybrid";
  operators.checked = given.get("syntax") === "operators";
  asked = new URLSearchParams(new FormData(form));
  hits.replaceChildren();
  more.hidden = true;
  if (field.value) search(0);
  else say("");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  history.pushState(null, "", `?${new URLSearchParams(new FormData(form))}`);
  start();
});
entry.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, key.value.trim());
  key.value = "";
  start();
});
mode.addEventListener("change", () => field.value && form.requestSubmit());
operators.addEventListener("change", () => field.value && form.requestSubmit());
more.addEventListener("click", () => search(hits.children.length));
addEventListener("popstate", start);
start();
