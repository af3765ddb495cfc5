"use strict";
// Texts of models and users only ever become text nodes: nothing here sets innerHTML.
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}
const find = (id) => document.getElementById(id);

// Dark or light: the system's choice until the button is pressed.
(() => {
  const button = find("theme");
  const root = document.documentElement;
  const isDark = () =>
    root.style.colorScheme ? root.style.colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { button.textContent = isDark() ? "Light mode" : "Dark mode"; };
  button.hidden = false;
  button.addEventListener("click", () => { root.style.colorScheme = isDark() ? "light" : "dark"; name(); });
  name();
})();

// Tables: a click on a header sorts, a field above a long table filters.
for (const table of document.querySelectorAll("table.data")) {
  const body = table.tBodies[0];
  const number = (text) => parseFloat(text.replace(/[,<+]/g, "").replace("−", "-"));
  table.querySelectorAll("thead th").forEach((header, column) => {
    const button = make("button", { type: "button" }, header.textContent);
    header.replaceChildren(button);
    button.addEventListener("click", () => {
      const isRising = header.getAttribute("aria-sort") === "descending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", isRising ? "ascending" : "descending");
      const key = (row) => row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [number(key(a)), number(key(b))];
        if (!header.classList.contains("number")) return key(a).localeCompare(key(b), "en", { numeric: true });
        // Cells without a number come last, whichever way.
        if (isNaN(x) || isNaN(y)) return (isNaN(x) - isNaN(y)) * (isRising ? 1 : -1);
        return x - y;
      };
      const rows = [...body.rows].sort(compare);
      body.append(...(isRising ? rows : rows.reverse()));
    });
  });
  if (body.rows.length < 9) continue;
  const field = make("input", { type: "search", placeholder: "filter rows", className: "filter" });
  field.setAttribute("aria-label", "Filter the rows of this table");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of body.rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  });
  table.parentElement.before(field);
}

// The browser of problems.
function pill(isRight, text) {
  return make("span", { className: "pill " + (isRight === null ? "unsaid" : isRight ? "right" : "wrong") }, text);
}
const judge = (correct) => (correct === null ? "undecided" : correct ? "right" : "wrong");
const call = (verdict) => (verdict === null ? "no verdict" : verdict ? "sound" : "flawed");

function showRoute(route, number, said) {
  const place = route.flaw ? ` in step ${route.flaw}` : "";
  const label = pill(route.sound, route.sound === null ? "undecided" : "is " + call(route.sound) + place);
  const verdict = said === undefined ? null : pill(said === null ? null : said === route.sound, "model says " + call(said));
  const notes = [
    route.guided ? "guided" : "", route.held_out ? "held out" : "",
    route.correct && route.sound === false ? "right answer by a step that does not hold" : "",
  ].filter(Boolean).join(", ");
  const steps = route.steps.map((step, index) => `[${index + 1}] ${step}`).join("\n");
  return make("div", { className: "card " + (route.sound ? "sound" : route.sound === false ? "flawed" : "") },
    make("span", { className: "about" }, `Route ${number}, ${route.source}${notes ? " (" + notes + ")" : ""}`), label, verdict,
    make("div", { className: "text" }, steps));
}

function showAnswer(answer, number) {
  const name = [answer.method, answer.mode, answer.kind || "", number || ""].filter(Boolean).join(", ");
  const verdicts = answer.verdicts || [];
  const said = verdicts.map((verdict, index) =>
    pill(answer.labels ? verdict === answer.labels[index] : null, "says " + call(verdict)));
  const swatch = make("i", { className: "swatch" });
  return make("div", { className: "card c-" + answer.mode },
    swatch, make("strong", {}, name), pill(answer.correct, judge(answer.correct)), ...(answer.kind ? said : []),
    make("span", { className: "about" }, `${answer.tokens}\u00a0tokens`),
    make("div", { className: "text" }, answer.text),
    answer.prompt ? make("details", {}, make("summary", {}, "Prompt"), make("div", { className: "text" }, answer.prompt)) : null);
}

function fill(details, problem) {
  const shown = problem.answers.find((answer) => answer.shown && answer.mode === "assisted");
  const verdicts = new Map(shown ? shown.shown.map((place, index) => [place, shown.verdicts[index]]) : []);
  const others = problem.routes.map((_, place) => place).filter((place) => !verdicts.has(place));
  const show = (place, index) => showRoute(problem.routes[place], index + 1, verdicts.get(place));
  const counts = new Map();
  const answers = problem.answers.map((answer) => {
    const name = `${answer.method} ${answer.mode}`;
    counts.set(name, (counts.get(name) || 0) + 1);
    return showAnswer(answer, answer.mode === "samples" ? `sample ${counts.get(name)}` : "");
  });
  const group = (title, cards) => (cards.length ? [make("h3", {}, title), make("div", { className: "cards" }, ...cards)] : []);
  details.append(
    make("h3", {}, "Question"), make("div", { className: "text" }, problem.question),
    make("p", {}, make("span", { className: "about" }, "gold answer "), make("strong", {}, problem.gold)),
    ...group("Routes shown", [...verdicts.keys()].map(show)), ...group("Answers", answers),
    ...group(verdicts.size ? "Other routes" : "Routes", others.map(show)));
}

function showProblem(problem) {
  const pills = [];
  const last = problem.answers.length ? problem.answers[0].method : "";
  for (const mode of ["autonomous", "assisted"]) {
    const answer = problem.answers.find((one) => one.method === last && one.mode === mode && !one.kind);
    if (answer) pills.push(pill(answer.correct, `${mode}: ${judge(answer.correct)}`));
  }
  const details = make("details", { className: "problem" },
    make("summary", {}, make("span", { className: "title" }, problem.id), ` ${problem.split} `, ...pills,
      make("span", { className: "hint" }, problem.question.slice(0, 200))));
  // Filled when it is opened: thousands of problems have tens of thousands of texts.
  details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) fill(details, problem); });
  return details;
}

async function browse(holder) {
  const bytes = Uint8Array.from(atob(holder.textContent), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const problems = await new Response(stream).json();
  const [list, count, more, search] = ["list", "count", "more", "search"].map(find);
  const size = Number(list.dataset.page);
  const texts = problems.map((problem) => JSON.stringify([
    problem.id, problem.question, problem.gold,
    problem.routes.map((route) => [route.source, route.steps]), problem.answers.map((answer) => answer.text),
  ]).toLowerCase());
  let found = [];
  let shown = 0;
  const extend = () => {
    list.append(...found.slice(shown, shown + size).map(showProblem));
    shown = Math.min(shown + size, found.length);
    more.hidden = shown === found.length;
    count.textContent = `${found.length.toLocaleString("en")} of ${problems.length.toLocaleString("en")} problems` +
      (found.length > shown ? `, ${shown.toLocaleString("en")} listed` : "");
  };
  const filter = () => {
    const [tag, split, source] = ["tag", "split", "source"].map((id) => find(id).value);
    // As the texts are JSON, so must the words be: a quote is \" there.
    const words = search.value.toLowerCase().split(/\s+/).map((word) => JSON.stringify(word).slice(1, -1));
    found = problems.filter((problem, index) =>
      (!tag || problem.tags.includes(tag)) && (!split || problem.split === split) &&
      (!source || problem.routes.some((route) => route.source === source)) &&
      words.every((word) => texts[index].includes(word)));
    list.replaceChildren();
    shown = 0;
    extend();
    const first = list.querySelector("details");
    if (first) first.open = true;
  };
  find("filters").hidden = false;
  find("filters").addEventListener("input", filter);
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    // The button may go, and the focus would go with it: the first problem that was added takes it.
    const place = shown;
    extend();
    list.children[place].firstChild.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    event.preventDefault();
    search.focus();
  });
  filter();
}
if (find("data")) browse(find("data"));
