// Before anything is drawn: the theme that was chosen here last time. Without one the system's holds.
(() => {
  const chosen = localStorage.getItem("sadp_dist theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
