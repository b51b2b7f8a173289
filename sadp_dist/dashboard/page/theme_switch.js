// The button that switches between the light and the dark theme. theme.js restores the choice when the page loads.

import { redraw } from "./charts.js";
import { byId, setText } from "./dom.js";

const SYSTEM_DARK = matchMedia("(prefers-color-scheme: dark)");

export function makeThemeSwitch() {
  byId("theme").addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("sadp_dist theme", theme);
    changed();
  });
  SYSTEM_DARK.addEventListener("change", changed);
  changed();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : SYSTEM_DARK.matches;
}

function changed() {
  setText(byId("theme"), isDark() ? "Light theme" : "Dark theme");
  redraw();
}
