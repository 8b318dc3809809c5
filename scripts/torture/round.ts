/**
 * One KV file: servers that are killed again and again, clients that write all
 * the time, and checks in between.
 *
 * @module
 */
import { Account, type AckedWrite } from "./account.ts";
import { checkInProcess } from "./check_run.ts";
import { compareClients } from "./compare.ts";
import type { Death, KillPlan } from "./plan.ts";
import type { ServerProcessOptions } from "./server_process.ts";
import { hugeStrand, paddedName } from "./owned_strands.ts";
import type { Strand } from "./strand.ts";
import { addStrand, FOLLOWED, strandsOf } from "./strands.ts";
import { TortureClient, type Traffic } from "./torture_client.ts";
import { TortureServer } from "./torture_server.ts";
import { cameWithin, delay } from "./waiting.ts";

/** Clients that live through everything. */
const CLIENTS = 3;
/** A server that has not come to its point by then is killed wherever it is. */
const POINT_MS = 8_000;
/** How long a server may take to listen, and strands to end. */
const START_MS = 60_000;
const QUIET_MS = 120_000;

/** What a round needs. */
export interface RoundOptions {
  /** Where the file lies, and what the check writes beside it. */
  readonly folder: string;
  readonly open: ServerProcessOptions["open"];
  readonly servers: number;
  readonly kills: number;
  /** How many there are in all rounds. */
  readonly jobKills: number;
  /** Kills between two checks. */
  readonly checkEvery: number;
  readonly plan: KillPlan;
  readonly random: () => number;
  readonly figures: RoundFigures;
  readonly progress: () => void;
}

/** What happened, over all rounds of a job. */
export interface RoundFigures extends Traffic {
  kills: number;
  restarts: number;
  checks: number;
  acked: number;
  found: number;
  absent: number;
  recoveryMs: number;
}

/** Runs a round; returns what was broken. */
export async function runRound(options: RoundOptions): Promise<Account> {
  await using round = new Round(options);
  await round.run();
  return round.account;
}

class Round implements AsyncDisposable {
  readonly account = new Account();
  readonly #options: RoundOptions;
  readonly #kv: string;
  readonly #servers: TortureServer[] = [];
  /** How the servers are to die, by their place. */
  readonly #deaths = new Map<number, Death>();
  /** Those whose last words are in the account. */
  readonly #ended = new Set<TortureServer>();
  readonly #clients: TortureClient[] = [];
  readonly #strands: Strand[] = [];
  #running: Promise<unknown> | undefined;
  #isStopping = false;
  #boots = 0;
  #found = { found: 0, absent: 0 };
  /** Writes of the rounds before. */
  readonly #ackedBefore: number;

  constructor(options: RoundOptions) {
    this.#options = options;
    this.#kv = `${options.folder}/state.db`;
    this.#ackedBefore = options.figures.acked;
    const { random } = options;
    for (let n = 0; n < CLIENTS; n++) {
      const client = this.#connect();
      this.#clients.push(client);
      for (const store of FOLLOWED) client.subscribe(store);
      const context = { client, account: this.account, random, name: `c${n}` };
      client.subscribe(paddedName(context.name));
      this.#strands.push(...strandsOf(context));
      if (n > 0) continue;
      client.subscribe(paddedName("huge"));
      this.#strands.push(hugeStrand(context), this.#fickleStrand());
    }
  }

  async run(): Promise<void> {
    const { kills, checkEvery, servers, figures, progress } = this.#options;
    for (let slot = 0; slot < servers; slot++) this.#start(slot, slot === 0);
    this.#begin();
    for (let kill = 1; kill <= kills; kill++) {
      const slot = kill % servers;
      await this.#die(slot);
      figures.kills += 1;
      figures.acked = this.#ackedBefore + this.account.acked.length;
      progress();
      if (this.account.breaches.length > 0) return;
      if (kill % checkEvery === 0 || kill === kills) {
        await this.#check();
        if (this.account.breaches.length > 0 || kill === kills) return;
        this.#options.plan.swept();
        for (let other = 0; other < servers; other++) this.#start(other, false);
        this.#begin();
      } else {
        this.#start(slot, false);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    for (const client of this.#clients) client[Symbol.dispose]();
    for (const server of this.#servers) await server[Symbol.asyncDispose]();
    await this.#running;
    const { figures } = this.#options;
    figures.acked = this.#ackedBefore + this.account.acked.length;
    figures.found += this.#found.found;
    figures.absent += this.#found.absent;
    figures.recoveryMs = Math.max(
      figures.recoveryMs,
      ...this.account.recoveriesMs,
    );
  }

  #connect(): TortureClient {
    return new TortureClient({
      account: this.account,
      traffic: this.#options.figures,
      port: () => this.#port(),
    });
  }

  /** Whichever server listens. */
  #port(): number | undefined {
    const ports = this.#servers.map(({ port }) => port)
      .filter((port) => port !== undefined);
    return ports[Math.floor(this.#options.random() * ports.length)];
  }

  /** A client that goes away while its calls are on their way, and never asks what became of them. */
  #fickleStrand(): Strand {
    const { random } = this.#options;
    let visits = 0;
    return {
      pauseMs: 60,
      step: async () => {
        using client = this.#connect();
        const name = `f${++visits}`;
        const { account } = this;
        const strand = addStrand({ client, account, random, name });
        const calls = Array.from({ length: 6 }, () => strand.step());
        await cameWithin(Promise.all(calls), random() * 250);
        client[Symbol.dispose]();
        await Promise.all(calls);
      },
    };
  }

  #begin(): void {
    this.#isStopping = false;
    const { random } = this.#options;
    this.#running = Promise.all(this.#strands.map(async (strand) => {
      while (!this.#isStopping) {
        await strand.step();
        await delay(random() * strand.pauseMs);
      }
    })).catch((error) => this.account.breach("wrong", `A strand: ${error}`));
  }

  #start(slot: number, isFirst: boolean): void {
    const { plan, open, jobKills, figures } = this.#options;
    const death = plan.next({
      isFirst,
      isWatched: open !== "plain",
      deathsLeft: jobKills - figures.kills,
    });
    this.#deaths.set(slot, death);
    this.#spawn(slot, death.name === "order" ? { order: death.order } : {});
  }

  #spawn(
    slot: number,
    options: Partial<ConstructorParameters<typeof TortureServer>[0]>,
  ): void {
    const { open, figures, servers } = this.#options;
    const server = new TortureServer({
      kv: this.#kv,
      open,
      ticks: `k${++this.#boots}t`,
      ...options,
    });
    if (this.#servers[slot]) figures.restarts += 1;
    this.#servers[slot] = server;
    void server.ready.then((isReady) => {
      // Where there are two, the answer may be the other's.
      if (isReady && servers === 1) {
        this.account.recoveringSinceMs = server.startedAtMs;
      }
    });
  }

  /** Waits for a server's death, or brings it about. */
  async #die(slot: number): Promise<void> {
    const server = this.#servers[slot]!; // started before
    const death = this.#deaths.get(slot)!; // as well
    if (death.name === "order") {
      await cameWithin(server.exited, POINT_MS);
    } else {
      if (death.name === "later") await cameWithin(server.ready, START_MS);
      await cameWithin(server.exited, death.ms);
    }
    await this.#end(server);
    this.#settle(slot);
  }

  /** Tells the plan whether a server that has ended came to its point. */
  #settle(slot: number): void {
    const death = this.#deaths.get(slot);
    this.#deaths.delete(slot);
    if (death?.name !== "order") return;
    const { plan } = this.#options;
    const { point } = death.order;
    const killedAt = this.#servers[slot]?.killedAt;
    if (killedAt?.startsWith(`${point}:`)) plan.hit(point);
    else plan.miss(point);
  }

  /** Kills a server, if it has not done so itself, and takes what it said. */
  async #end(server: TortureServer): Promise<void> {
    await server[Symbol.asyncDispose]();
    if (this.#ended.has(server)) return;
    this.#ended.add(server);
    this.account.recoveringSinceMs = undefined;
    const { ticks } = server.options;
    if (server.errors !== "") {
      this.account.breach("wrong", `A server said: ${server.errors}`);
    }
    if (ticks === undefined) return;
    const acked = server.ticks.map((tick): AckedWrite => ({
      ...tick,
      store: "Ticker",
      n: 0,
    }));
    this.account.acked.push(...acked);
    this.account.unknown.push(
      ...server.unknown,
      `${ticks}.${server.tried + 1}`,
    );
  }

  /** Lets all calls end, then looks at the file, and at what clients show of it. */
  async #check(): Promise<void> {
    const { servers, figures } = this.#options;
    for (let slot = 0; slot < servers; slot++) {
      const server = this.#servers[slot]!; // started before
      await this.#end(server);
      this.#settle(slot);
      this.#spawn(slot, {});
    }
    this.#isStopping = true;
    const running = this.#running ?? Promise.resolve();
    const isQuiet = await cameWithin(running, QUIET_MS);
    if (!isQuiet) {
      this.account.breach("wrong", "Calls hang, with every server up");
    }
    for (const server of this.#servers) await this.#end(server);
    const report = await checkInProcess({
      folder: this.#options.folder,
      kv: this.#kv,
      account: this.account,
    });
    this.account.breaches.push(...report.breaches);
    this.#found = report.unknown;
    this.account.epochs = Object.fromEntries(
      Object.entries(report.stores)
        .filter(([name]) => !name.startsWith("Room:"))
        .map(([name, { epoch }]) => [name, epoch]),
    );
    for (let slot = 0; slot < servers; slot++) {
      this.#spawn(slot, { ticks: undefined });
    }
    await Promise.all(this.#servers.map(({ ready }) => ready));
    await compareClients({
      account: this.account,
      stores: report.stores,
      survivors: this.#clients,
      ports: this.#servers.map(({ port }) => port ?? 1),
    });
    for (const server of this.#servers) await this.#end(server);
    figures.checks += 1;
  }
}
