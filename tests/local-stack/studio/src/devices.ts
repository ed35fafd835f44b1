/** The choice of a microphone, remembered in this browser. */

import { AudioStreamService } from "../../../../worker/speaker/src/index.ts";
import { element } from "./page.ts";

const KEY = "studio.device";

export function rememberedDevice(): string | undefined {
  return localStorage.getItem(KEY) ?? undefined;
}

/** Fills the list now and whenever a device comes or goes; tells of the person's choice. */
export function offerDevices(chosen: (deviceId: string) => void): () => Promise<void> {
  const select = element<HTMLSelectElement>("device");
  const fill = async () => {
    const known = (await AudioStreamService.microphones()).filter(({ deviceId }) => deviceId !== "");
    const named = known.map(({ deviceId, label }, i) => new Option(label || `Microphone ${i + 1}`, deviceId));
    const wanted = select.value || rememberedDevice() || "";
    select.replaceChildren(...(named.length ? named : [new Option("The default microphone", "")]));
    if (named.some((option) => option.value === wanted)) select.value = wanted;
  };
  navigator.mediaDevices?.addEventListener("devicechange", () => void fill());
  select.addEventListener("change", () => {
    localStorage.setItem(KEY, select.value);
    chosen(select.value);
  });
  void fill();
  return fill;
}

/** The one that is in use, however it came to be. */
export function showDevice(deviceId: string): void {
  const select = element<HTMLSelectElement>("device");
  if ([...select.options].some((option) => option.value === deviceId)) select.value = deviceId;
}
