/**
 * What the hardened transport costs, measured against the native one.
 *
 * @module
 */
import { measureCalls } from "./acked_calls.ts";
import { measureDeliveries } from "./fanout.ts";
import {
  type Bench,
  type Figure,
  type Scenario,
  toFigure,
} from "./scenario.ts";

type TransportName = "native" | "hardened";

/** See the module's documentation. */
export const transports: Scenario = {
  name: "transports",
  title: "Hardened transport, against the native one",
  async run(bench: Bench) {
    const fanout = await bench.measure(both((transport) =>
      measureDeliveries(
        bench.startServer({ items: 20, limits: { fanoutMs: 0 }, transport }),
      )
    ));
    const calls = await bench.measure(
      both((transport) =>
        measureCalls(bench.startServer({ transport }), {
          store: "Grid",
          call: "set",
        })
      ),
    );
    return [
      figureOf("server CPU per million deliveries", "s", {
        native: fanout.native.map(({ cpuS }) => cpuS),
        hardened: fanout.hardened.map(({ cpuS }) => cpuS),
      }),
      figureOf("server CPU per million calls", "s", {
        native: calls.native.map(({ cpuS }) => cpuS),
        hardened: calls.hardened.map(({ cpuS }) => cpuS),
      }),
      figureOf("acknowledged calls", "/s", {
        native: calls.native.map(({ perSecond }) => perSecond),
        hardened: calls.hardened.map(({ perSecond }) => perSecond),
      }),
    ];
  },
};

function both<T>(measure: (transport: TransportName) => T) {
  return {
    native: () => measure("native"),
    hardened: () => measure("hardened"),
  };
}

function figureOf(
  name: string,
  unit: string,
  rounds: Record<TransportName, number[]>,
): Figure {
  const baseline = { name: "native", rounds: rounds.native };
  return toFigure({ name, unit, rounds: rounds.hardened, baseline });
}
