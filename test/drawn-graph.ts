/** A picture of what the program has registered, as Mermaid: components and what they wait for, folded to what a person can read. */
import type { Graph, Registered } from "./graph.ts";

/** Listed by name in a box where there are no more than these; counted otherwise. */
const listed = 3;

/** The component at the top that a resource belongs to, or the resource itself. */
function top(graph: Graph, name: string): string {
  const parent = graph.resources.find((resource) => resource.name === name)?.parent ?? "";
  return parent === "" ? name : top(graph, parent);
}

/** What each component waits for, without what follows from the rest. */
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

/** A component's name, and what is in it. */
function label(graph: Graph, { name }: Registered): string {
  const parts = graph.resources.filter((one) => one.parent === name && !one.type.startsWith("pulumi:providers:"));
  if (parts.length <= 1) return name;
  const names = parts.map((part) => part.name.replace(`${name}-`, "")).sort();
  return `${name}<br/>${names.length > listed ? `${names.length} resources` : names.join(", ")}`;
}

/** Components as a Mermaid flowchart, those of a slot in a box of their own. An arrow leads to what waits. */
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
