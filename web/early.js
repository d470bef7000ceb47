// Before the first paint: the language and the theme, so that neither is seen to change.
(() => {
  const root = document.documentElement;
  let language, theme;
  try {
    language = localStorage.getItem("language");
    theme = localStorage.getItem("theme");
  } catch {
    // Storage may be forbidden; the browser's own wishes do.
  }
  root.lang = language || (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
  if (theme) root.dataset.theme = theme;
})();
