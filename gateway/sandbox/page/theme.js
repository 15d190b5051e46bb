/* The chosen theme, before anything is painted: no module, for modules come after the first paint. */
document.documentElement.dataset.theme = localStorage.theme ?? "";
