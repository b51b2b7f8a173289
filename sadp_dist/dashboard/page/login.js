// The form that asks for the token. The server answers it with a cookie that scripts cannot read.

import { logIn } from "./api.js";
import { redraw } from "./charts.js";
import { byId } from "./dom.js";
import { sentence } from "./format.js";

export function isLocked() {
  return !byId("door").hidden;
}

/** Show the form in the place of the figures. */
export function lock() {
  if (isLocked()) return;
  byId("dashboard").hidden = true;
  byId("door").hidden = false;
  byId("token").focus();
}

export function closeDoor() {
  if (!isLocked()) return;
  byId("door").hidden = true;
  byId("dashboard").hidden = false;
  redraw(); // what is hidden has no size
  byId("main").focus();
}

/** @param {() => void} opened is called when the server has taken the token. */
export function makeDoor(opened) {
  byId("login").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = byId("token");
    byId("refused").textContent = "";
    try {
      await logIn(field.value);
    } catch (error) {
      const wrong = "This is not the token. Look again where the dashboard was started.";
      byId("refused").textContent = error.status === 401 ? wrong : sentence(error.message);
      field.select();
      return;
    }
    field.value = "";
    opened();
  });
}
