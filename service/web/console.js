// The console: asks /v1/search and shows what comes back. Texts of the catalogue are only ever set as textContent.

const PAGE = 24;
const MAX_WINDOW = 10_000;
const form = document.querySelector("#search");
const field = document.querySelector("#query");
const mode = document.querySelector("#mode");
const operators = document.querySelector("#operators");
const photograph = document.querySelector("#photograph");
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

// With the key, which an address alone does not send.
async function picture(image, address) {
  const response = await fetch(address, { headers: headers() });
  if (!response.ok) return;
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  image.src = URL.createObjectURL(await response.blob());
  image.hidden = false;
}

function card({ product, product_id, score, distance, contained, thumbnail }) {
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
  if (thumbnail) picture(item.querySelector(".thumbnail"), thumbnail);
  return item;
}

function say(text, { failed = false } = {}) {
  status.textContent = text;
  status.classList.toggle("failed", failed);
}

function summary({ total, generality, took_ms, snapshot, mode }) {
  if (mode === "image" && !field.value) return `by picture · ${took_ms.toFixed(1)} ms · snapshot ${snapshot}`;
  const counted = `${total.relation === "gte" ? "at least " : ""}${total.value} product${total.value === 1 ? "" : "s"}`;
  const breadth = generality === null ? "no volume" : `generality ${generality.toFixed(1)}`;
  return `${counted} in the hyperboloid · ${breadth} · ${took_ms.toFixed(1)} ms · snapshot ${snapshot}`;
}

function request(parameters) {
  const [file] = photograph.files;
  if (!file) return [`/v1/search?${parameters}`, { headers: headers() }];
  parameters.delete("mode");
  if (!parameters.get("q")) parameters.delete("q");
  const sent = { method: "POST", body: file, headers: { ...headers(), "Content-Type": file.type } };
  return [`/v1/search/image?${parameters}`, sent];
}

async function search(offset) {
  const turn = ++latest; // an answer that a newer search overtook is dropped
  more.hidden = true;
  say("Searching…");
  try {
    const parameters = new URLSearchParams(asked);
    parameters.set("limit", Math.min(PAGE, MAX_WINDOW - offset));
    parameters.set("offset", offset);
    const response = await fetch(...request(parameters));
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
  if (field.value || photograph.files.length) search(0);
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
photograph.addEventListener("change", () => {
  field.required = !photograph.files.length;
  if (field.value) form.requestSubmit();
  else start();
});
more.addEventListener("click", () => search(hits.children.length));
addEventListener("popstate", start);
start();
