/**
 * Options for git: its output, and the bytes of an archive, are the same with any user settings and variables of git.
 * Settings about locations and trust (safe.directory, GIT_CONFIG_COUNT) stay the user's.
 */
import { devNull } from "node:os";

const settings = {
  // A signature check would be printed before the requested output.
  "log.showSignature": "false",
  "color.ui": "false",
  "column.ui": "never",
  "column.tag": "never",
  // Versions contain abbreviated commits.
  "core.abbrev": "auto",
  "status.showUntrackedFiles": "normal",
  // Archives have the commit's own content: no line ends and no attributes of this machine. The modes are those of a
  // checkout: git's own default would make files writable by the group, and a build from files without history would
  // not find its layers in the cache.
  "core.autocrlf": "false",
  "core.eol": "lf",
  "core.attributesFile": devNull,
  "tar.umask": "0022",
};

/** Options that come before git's command. */
export const neutralGit: readonly string[] = Object.entries(settings).flatMap(([key, value]) => [
  "-c",
  `${key}=${value}`,
]);

/**
 * Variables that name another repository, tree or index, as git sets them for hooks, or that change the meaning of
 * paths or objects.
 */
const another =
  /^GIT_(DIR|WORK_TREE|IMPLICIT_WORK_TREE|INDEX_FILE|COMMON_DIR|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|PREFIX|NAMESPACE|GRAFT_FILE|SHALLOW_FILE|REPLACE_REF_BASE|CONFIG|INTERNAL_SUPER_PREFIX|ATTR_SOURCE|EXTERNAL_DIFF|DIFF_OPTS|(LITERAL|GLOB|NOGLOB|ICASE)_PATHSPECS|TRACE\w*)$/;

/** The environment for git: in English, since its messages are parsed. */
export function gitEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.fromEntries(Object.entries(env).filter(([name]) => !another.test(name) && name !== "LANGUAGE"));
  return { ...kept, LC_ALL: "C", GIT_ATTR_NOSYSTEM: "1", GIT_NO_REPLACE_OBJECTS: "1", GIT_OPTIONAL_LOCKS: "0" };
}
