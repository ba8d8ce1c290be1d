// The servers of a client, and what makes them nodes of one cluster.

import { type AnswerError, BadRequest } from "./errors.js";
import type { Answer } from "./http.js";

/** Requests that change nothing, each for a key with another scope. Only a node knows the read level. */
export const PROBES = [
  ["/v1/resolve", '{"tokens":[]}'],
  ["/v1/consume", '{"tokens":[]}'],
  ["/v1/revoke", '{"tokens":[]}'],
  ["/v1/extend", '{"tokens":[],"ttl":1}'],
  // Incomplete: nothing is put.
  ["/v1/names", "{}"],
] as const;

export const NOT_ALONE =
  "several URLs are nodes of one cluster, and a server here is none: servers that share nothing would " +
  "consume a token once each";
export const NOT_STATED =
  "several URLs are nodes of one cluster, and one states no cluster: it is older than this client, or " +
  "something in between removes the header Jeton-Cluster";
export const NOT_ONE = "several URLs are nodes of one cluster, and these are of different ones";

/** The servers, one of which is asked until it fails, and the clusters that they are of. */
export class Nodes {
  readonly #urls: readonly string[];
  readonly #clusterOf = new Map<string, string>();
  #at: number;
  #hasAskedAll: boolean;
  #mistakes = 0;

  constructor(urls: readonly string[]) {
    this.#urls = urls;
    this.#at = Math.floor(Math.random() * urls.length);
    // One server alone need not be a node.
    this.#hasAskedAll = urls.length === 1;
  }

  get current(): string {
    return this.#urls[this.#at] as string;
  }

  /** Goes to the next one, unless another call already has. */
  leave(url: string): void {
    if (this.current === url) this.#at = (this.#at + 1) % this.#urls.length;
  }

  /** Whether it has said that it is a node of the same cluster as the others. */
  isKnown(url: string): boolean {
    return this.#urls.length === 1 || this.#clusterOf.has(url);
  }

  /** Whether each was asked once. Some may not have answered. */
  get hasAskedAll(): boolean {
    return this.#hasAskedAll;
  }

  /** How often servers were found that are not of one cluster. */
  get mistakes(): number {
    return this.#mistakes;
  }

  /** Those that are to be asked beside `url` for their cluster. */
  others(url: string): string[] {
    if (this.#hasAskedAll) return [];
    return this.#urls.filter((other) => other !== url && !this.#clusterOf.has(other));
  }

  /** A node has stated its cluster. Whether it is that of the others. */
  learn(url: string, cluster: string): boolean {
    this.#clusterOf.set(url, cluster);
    return [...this.#clusterOf.values()].every((other) => other === cluster);
  }

  /** Notes that all were asked. False if a mistake was found since there were `mistakes`. */
  end(mistakes: number): boolean {
    this.#hasAskedAll ||= mistakes === this.#mistakes;
    return mistakes === this.#mistakes;
  }

  /** They are not of one cluster, and nobody knows which of them is right: all are asked again. */
  forget(): void {
    this.#mistakes++;
    this.#clusterOf.clear();
    this.#hasAskedAll = false;
  }

  /**
   * Reads an answer to a probe, whose error is undefined if it is a success. `"node"`: the server is one of
   * the same cluster as the others. `"no-scope"`: the next probe may tell more. `"failed"`: it does not tell.
   * Another text: why the servers are not nodes of one cluster.
   */
  judge(url: string, answer: Answer, error: AnswerError | undefined): string {
    const field = error instanceof BadRequest ? error.field?.toLowerCase() : undefined;
    if (field === "jeton-read") {
      const cluster = answer.headers.get("jeton-cluster");
      if (cluster === null) return NOT_STATED;
      return this.learn(url, cluster) ? "node" : NOT_ONE;
    }
    if (error === undefined || field === "name") return NOT_ALONE;
    return error.status === 403 ? "no-scope" : "failed";
  }
}
