const QUICKLY = { duration: 180, easing: "cubic-bezier(0.2, 0, 0, 1)" };

/**
 * Notes where elements are; the function that it returns has those that were moved
 * meanwhile glide to their new places.
 */
export function glide(elements: readonly HTMLElement[]): () => void {
  const before = elements.map((element) => element.getBoundingClientRect());
  return () => {
    if (isStill()) return;
    elements.forEach((element, index) => {
      const { left, top } = element.getBoundingClientRect();
      const old = before[index];
      if (!old || !element.isConnected) return;
      const translate = `${old.left - left}px ${old.top - top}px`;
      if (translate === "0px 0px") return;
      element.animate({ translate: [translate, "0px 0px"] }, QUICKLY);
    });
  };
}

/** Lets a new element fade in. */
export function appear(element: HTMLElement): void {
  if (isStill()) return;
  element.animate({ opacity: [0, 1], scale: [0.96, 1] }, QUICKLY);
}

function isStill(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
