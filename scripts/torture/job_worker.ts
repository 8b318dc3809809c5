/**
 * Runs one job in a thread of its own. Takes {@linkcode JobOptions}, tells
 * {@linkcode JobNews}.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { type JobOptions, type JobReport, runJob } from "./job.ts";

/** What a job tells. */
export type JobNews = {
  readonly isDone: boolean;
  readonly report: JobReport;
} | { readonly error: string };

self.onmessage = async ({ data }: MessageEvent<JobOptions>) => {
  const tell = (news: JobNews) => self.postMessage(news);
  try {
    const progress = (report: JobReport) => tell({ isDone: false, report });
    const report = await runJob(data, progress);
    tell({ isDone: true, report });
  } catch (error) {
    // Else the whole program would end, and the other jobs' files with it.
    tell({ error: error instanceof Error ? `${error.stack}` : `${error}` });
  }
};
