// Asks before something is done that cannot be undone.

const dialog = document.getElementById("confirmation");

/** Whether the user agrees. */
export function confirm(question, consequence, action) {
  dialog.querySelector("h2").textContent = question;
  dialog.querySelector("p").textContent = consequence;
  dialog.querySelector(".danger").textContent = action;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }),
  );
}
