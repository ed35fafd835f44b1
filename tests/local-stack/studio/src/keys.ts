/** Keys, and the button that is held. */

import { element } from "./page.ts";

export interface Actions {
  pause(): void;
  mute(): void;
  /** Whether somebody talks, in push-to-talk. */
  talk(talking: boolean): void;
  isPushToTalk(): boolean;
}

/** P, M and space, unless they are switched off or meant for a control that has the focus. */
export function listenToKeys(actions: Actions): void {
  const isFree = ({ target, ctrlKey, altKey, metaKey, repeat }: KeyboardEvent) =>
    element<HTMLInputElement>("shortcuts").checked &&
    !(ctrlKey || altKey || metaKey || repeat) &&
    !(target instanceof HTMLInputElement || target instanceof HTMLSelectElement);
  const isButton = ({ target }: Event) => target instanceof HTMLButtonElement || (target as HTMLElement).tagName === "SUMMARY";

  addEventListener("keydown", (event) => {
    if (event.code === "Space" && actions.isPushToTalk() && isFree(event) && !isButton(event)) actions.talk(true);
    else if (event.code === "Space" && actions.isPushToTalk() && event.repeat && !isButton(event)) event.preventDefault();
    else if (event.key.toLowerCase() === "m" && isFree(event)) actions.mute();
    else if (event.key.toLowerCase() === "p" && isFree(event)) actions.pause();
    else return;
    if (event.code === "Space") event.preventDefault(); // it would scroll
  });
  addEventListener("keyup", (event) => {
    if (event.code === "Space" && actions.isPushToTalk() && !isButton(event)) actions.talk(false);
  });

  const talk = element("talk");
  talk.addEventListener("pointerdown", (event) => {
    talk.setPointerCapture(event.pointerId);
    actions.talk(true);
  });
  for (const end of ["pointerup", "pointercancel", "blur"]) talk.addEventListener(end, () => actions.talk(false));
  talk.addEventListener("keydown", (event) => {
    if (event.code !== "Space" && event.code !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) actions.talk(true);
  });
  talk.addEventListener("keyup", () => actions.talk(false));
  addEventListener("blur", () => actions.talk(false)); // the key is let go where nobody sees it
}
