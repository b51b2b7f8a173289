// Restores the chosen theme before the page is drawn. Without a choice, the page follows the system.
(() => {
  const chosen = localStorage.getItem("sadp_dist theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
