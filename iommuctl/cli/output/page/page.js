"use strict";
(() => {
  const { hosts, texts, templates } = JSON.parse(document.getElementById("data").textContent);
  // What many hosts have alike is in the data once, by its number.
  for (const [index, host] of hosts.entries()) {
    host.index = index;
    for (const name of ["backend", "platform", "profile", "line", "verdict", "sentence", "shape", "standing", "code", "brief", "hint"]) host[name] = texts[host[name]];
  }
  const STEP = 200;
  const rows = document.getElementById("rows"), search = document.getElementById("search");
  const found = document.getElementById("found"), more = document.getElementById("more"), article = document.getElementById("host");
  let matching = hosts, shown = 0;

  // Every text is put in as text: nothing that a host says becomes markup.
  const add = (parent, name, text, kind) => {
    const one = document.createElement(name);
    if (text !== undefined) one.textContent = text;
    if (kind) one.className = kind;
    return parent.appendChild(one);
  };
  const kindOf = (line) => /^(\+\+\+|---)/.test(line) ? "file" : line[0] === "+" ? "add" : line[0] === "-" ? "del" : line.startsWith("@@") ? "at" : "";
  const diffOf = (host) => templates[host.diff[0]].map((part, i) => part + (host.diff[i + 1] ?? "")).join("");

  const extend = (count) => {
    const part = document.createDocumentFragment();
    for (const host of matching.slice(shown, shown + count)) {
      const row = add(part, "tr");
      row.tabIndex = 0;
      row.dataset.index = host.index;
      for (const text of [host.name, host.standing, host.verdict, host.profile, host.backend, host.line, host.shape.slice(0, 12)]) add(row, "td", text);
    }
    rows.append(part);
    shown = Math.min(shown + count, matching.length);
    more.hidden = shown === matching.length;
    found.textContent = `${matching.length} of ${hosts.length}`;
  };
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    matching = hosts.filter((host) => {
      const text = `${host.name} ${host.standing} ${host.verdict} ${host.profile} ${host.backend} ${host.line} ${host.shape} ${host.code} ${host.brief}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    rows.replaceChildren();
    shown = 0;
    extend(STEP);
  };
  const list = (name, numbers) => {
    if (!numbers.length) return;
    add(article, "h4", name);
    const items = add(article, "ul");
    for (const number of numbers) add(items, "li", texts[number]);
  };
  const open = (index) => {
    const host = hosts[index];
    article.replaceChildren();
    add(article, "h3", host.name);
    const facts = add(article, "table");
    for (const [name, text] of [["what", host.standing], ["verdict", host.verdict], ["why", host.sentence], ["profile", host.profile], ["platform", host.platform], ["backend", host.backend], ["kernel line", host.line], ["snapshot", host.snapshot], ["fingerprint", host.fingerprint], ["stopped by", host.code], ["error", host.brief], ["next", host.hint]]) {
      if (!text) continue;
      const row = add(facts, "tr");
      add(row, "th", name).scope = "row";
      add(row, "td", text);
    }
    list("Details", host.details);
    list("Drift", host.drift);
    list("Findings", host.findings);
    list("Looked at to tell the bootloader", host.evidence);
    list("Commands", host.commands);
    if (host.diff) {
      add(article, "h4", "Difference");
      const pre = add(article, "pre", undefined, "diff");
      for (const line of diffOf(host).split("\n")) add(pre, "span", line + "\n", kindOf(line));
    }
    article.hidden = false;
    article.focus();
    article.scrollIntoView();
  };

  search.addEventListener("input", filter);
  more.addEventListener("click", () => extend(STEP));
  rows.addEventListener("click", (event) => { const row = event.target.closest("tr"); if (row) open(row.dataset.index); });
  document.addEventListener("keydown", (event) => {
    const row = document.activeElement.closest?.("#rows tr");
    if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); search.select(); }
    else if (event.key === "Escape") { article.hidden = true; search.focus(); search.select(); }
    else if (event.key === "ArrowDown" && document.activeElement === search) { event.preventDefault(); rows.firstElementChild?.focus(); }
    else if (event.key === "ArrowDown" && row) { event.preventDefault(); if (!row.nextElementSibling) extend(STEP); row.nextElementSibling?.focus(); }
    else if (event.key === "ArrowUp" && row) { event.preventDefault(); (row.previousElementSibling ?? search).focus(); }
    else if (event.key === "Enter" && row) { event.preventDefault(); open(row.dataset.index); }
    else if (event.key === "Enter" && document.activeElement === search && matching.length) { event.preventDefault(); open(matching[0].index); }
  });
  window.addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; extend(matching.length); });
  filter();
})();
