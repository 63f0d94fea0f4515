/**
 * Draws the program's registered resources as Mermaid: components and their dependencies, folded to a readable size.
 */
import type { Graph, Registered } from "./graph.ts";

/** Up to this number, resources are listed by name in a box; otherwise counted. */
const listed = 3;

/** The component at the top that a resource belongs to, or the resource itself. */
function top(graph: Graph, name: string): string {
  const parent = graph.resources.find((resource) => resource.name === name)?.parent ?? "";
  return parent === "" ? name : top(graph, parent);
}

/** Direct dependencies of each component, without those that follow from others. */
function waitsFor(graph: Graph, components: readonly string[]): Map<string, string[]> {
  const direct = new Map(components.map((name) => [name, new Set<string>()]));
  for (const { name, options } of graph.resources)
    for (const other of options.dependsOn) {
      const [from, to] = [top(graph, other), top(graph, name)];
      if (from !== to && direct.has(from)) direct.get(to)?.add(from);
    }
  const reaches = (from: string, to: string): boolean =>
    [...(direct.get(from) ?? [])].some((next) => next === to || reaches(next, to));
  return new Map(
    [...direct].map(([name, others]) => [
      name,
      [...others]
        .filter((other) => ![...others].some((between) => between !== other && reaches(between, other)))
        .sort(),
    ]),
  );
}

/** A component's name, and its contents. */
function label(graph: Graph, { name }: Registered): string {
  const parts = graph.resources.filter((one) => one.parent === name && !one.type.startsWith("pulumi:providers:"));
  if (parts.length <= 1) return name;
  const names = parts.map((part) => part.name.replace(`${name}-`, "")).sort();
  return `${name}<br/>${names.length > listed ? `${names.length} resources` : names.join(", ")}`;
}

/** Components as a Mermaid flowchart, with a box for each slot. An arrow leads to the component that waits. */
export function drawGraph(graph: Graph): string {
  const components = graph.resources
    .filter(({ parent, type }) => parent === "" && type.startsWith("togather:"))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const edges = waitsFor(
    graph,
    components.map(({ name }) => name),
  );
  const slotOf = (name: string): string | undefined => /^(blue|green)-/.exec(name)?.[1];
  const nodes = (slot: string | undefined, indent: string): string[] =>
    components.filter(({ name }) => slotOf(name) === slot).map((one) => `${indent}${one.name}["${label(graph, one)}"]`);
  return [
    "flowchart TD",
    ...nodes(undefined, "  "),
    ...["blue", "green"].flatMap((slot) => [`  subgraph ${slot}`, ...nodes(slot, "    "), "  end"]),
    ...[...edges].flatMap(([name, others]) => others.map((other) => `  ${other} --> ${name}`)),
  ].join("\n");
}
