/**
 * The one door to React. This module is browser compatible.
 *
 * @module
 */
export {
  createContext,
  createElement,
  Suspense,
  use,
  useCallback,
  useEffect,
  useInsertionEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
export type { ReactNode } from "react";
