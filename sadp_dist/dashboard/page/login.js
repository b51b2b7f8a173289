// The login form. The server responds with a cookie that scripts cannot read.

import { logIn } from "./api.js";
import { redraw } from "./charts.js";
import { byId } from "./dom.js";
import { sentence } from "./format.js";

export function isLoginShown() {
  return !byId("login-page").hidden;
}

/** Show the form instead of the dashboard. */
export function showLogin() {
  if (isLoginShown()) return;
  byId("dashboard").hidden = true;
  byId("login-page").hidden = false;
  byId("token").focus();
}

export function hideLogin() {
  if (!isLoginShown()) return;
  byId("login-page").hidden = true;
  byId("dashboard").hidden = false;
  redraw(); // hidden charts have no size
  byId("main").focus();
}

/** @param {() => void} loggedIn called when the server has accepted the token. */
export function makeLogin(loggedIn) {
  byId("login").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = byId("token");
    byId("refused").textContent = "";
    try {
      await logIn(field.value);
    } catch (error) {
      const wrong = "This token is wrong. Enter the token that the dashboard was started with.";
      byId("refused").textContent = error.status === 401 ? wrong : sentence(error.message);
      field.select();
      return;
    }
    field.value = "";
    loggedIn();
  });
}
