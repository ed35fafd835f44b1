/** The service's word on what is in the stream. */

import type { Chunk } from "./chunk.ts";

/** The answer to `{"action":"status"}`: the service's `Status`, as far as pages use it. */
export interface SessionStatus {
  session: "active" | "ended" | "unknown";
  pages: { page: number; firstCapturedAt: number; lastCapturedAt: number; nextChunkIndex: number }[];
  /** `reason`: `PARKED`, `MISSING` or `GIVEN_UP`; `cause`: why chunks of it were parked, such as `ack-4006`, where that is known. */
  gaps: { page: number; chunkFirst: number; chunkLast: number; reason: string; cause?: string }[];
}

/** Whether a chunk is in the stream. A page is known by its time: all count their chunks from 0. */
export function fate(status: SessionStatus, { index, at }: Chunk): "open" | "stored" | "missing" {
  const passed = status.pages.find(
    (page) => page.firstCapturedAt <= at && at <= page.lastCapturedAt && index < page.nextChunkIndex,
  );
  if (!passed) return "open";
  const gap = status.gaps.some(
    (gap) => gap.page === passed.page && gap.chunkFirst <= index && index <= gap.chunkLast,
  );
  return gap ? "missing" : "stored";
}
