/* What the script adds: lists that are live. Every page and every action works without it. */
"use strict";
(() => {
  const EVERY_MS = 2000;
  const live = document.querySelector("[data-live]");
  const rows = document.querySelector("[data-rows]");
  if (!live || !rows) return;
  const button = live.querySelector("[data-pause]");
  const state = live.querySelector("[data-state]");
  let paused = false;
  const say = (text) => { if (state.textContent !== text) state.textContent = text; };
  const busy = () => paused || document.hidden || rows.contains(document.activeElement);
  const look = async () => {
    if (busy()) return;
    try {
      const reply = await fetch(live.dataset.live, { headers: { "x-bylaw-poll": "1" }, cache: "no-store", credentials: "same-origin", redirect: "error" });
      if (reply.status === 401) { stop("Your session has ended. Sign in again."); return; }
      if (!reply.ok) { say("not answering"); return; }
      const text = await reply.text();
      if (!busy() && text !== last) { rows.innerHTML = text; last = text; }
      say("live");
    } catch { say("not answering"); }
  };
  let last = "";
  const timer = setInterval(look, EVERY_MS);
  const stop = (text) => { clearInterval(timer); say(text); button.hidden = true; };
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Go on" : "Pause";
    say(paused ? "paused" : "live");
    look();
  });
  say("live");
})();
