export * from "../../config/plan.ts";
