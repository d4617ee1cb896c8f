// Opens a study file from this computer into the text; the server is told by the text's own change.
document.addEventListener("change", async (event) => {
  const input = event.target;
  if (input.id !== "open" || !input.files.length) return;
  const text = document.getElementById("yaml");
  text.value = await input.files[0].text();
  input.value = "";
  text.dispatchEvent(new Event("opened"));
});
