// Loads a study file from this computer into the text; the text's `opened` event informs the server.
document.addEventListener("change", async (event) => {
  const input = event.target;
  if (input.id !== "open" || !input.files.length) return;
  const text = document.getElementById("yaml");
  text.value = await input.files[0].text();
  input.value = "";
  text.dispatchEvent(new Event("opened"));
});
