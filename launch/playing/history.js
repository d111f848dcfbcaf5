element.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-batch]");
  if (button) trigger("pick", { batch: Number(button.dataset.batch) });
});
