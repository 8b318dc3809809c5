import { openDenoKv } from "../adapters/deno_kv.ts";
import { kvContract } from "./_kv_contract.ts";
import { Denokv, giveToken, HAS_DENOKV } from "./_denokv.ts";

kvContract(
  HAS_DENOKV
    ? "openDenoKv(denokv)"
    : "openDenoKv(denokv), which is not installed,",
  async () => {
    const denokv = await Denokv.start();
    const token = giveToken(denokv);
    const opened = await openDenoKv(denokv.url);
    const dispose = async () => {
      await opened.close();
      token[Symbol.dispose]();
      await denokv[Symbol.asyncDispose]();
    };
    return { ...opened, [Symbol.asyncDispose]: dispose };
  },
  { isLocal: false, isMissing: !HAS_DENOKV },
);
