package postgresqlprovider

import (
	"fmt"
	"slices"
	"strings"

	p "github.com/pulumi/pulumi-go-provider"
)

// What can be granted on what; PostgreSQL's manual, GRANT. The official provider has the same table.
var privilegesOf = map[string][]string{
	"database":             {"CREATE", "CONNECT", "TEMPORARY"},
	"schema":               {"CREATE", "USAGE"},
	"table":                {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"},
	"column":               {"SELECT", "INSERT", "UPDATE", "REFERENCES"},
	"sequence":             {"USAGE", "SELECT", "UPDATE"},
	"function":             {"EXECUTE"},
	"procedure":            {"EXECUTE"},
	"routine":              {"EXECUTE"},
	"type":                 {"USAGE"},
	"foreign_data_wrapper": {"USAGE"},
	"foreign_server":       {"USAGE"},
}

const all = "ALL"

// privilegeFailures checks the object type and the privileges that are known. Unknown ones are empty here.
func privilegeFailures(objectType string, allowed []string, privileges []string) []p.CheckFailure {
	if objectType == "" {
		return nil
	}
	if !slices.Contains(allowed, objectType) {
		return []p.CheckFailure{{
			Property: "objectType",
			Reason:   fmt.Sprintf("%q is not one of %s", objectType, strings.Join(allowed, ", ")),
		}}
	}
	var failures []p.CheckFailure
	for _, privilege := range privileges {
		if privilege != "" && privilege != all && !slices.Contains(privilegesOf[objectType], privilege) {
			failures = append(failures, p.CheckFailure{
				Property: "privileges",
				Reason: fmt.Sprintf("%q cannot be granted on a %s: %s, %s can",
					privilege, objectType, all, strings.Join(privilegesOf[objectType], ", ")),
			})
		}
	}
	return failures
}

// samePrivileges compares what is granted with what was asked for, which may be ALL.
func samePrivileges(objectType string, granted, wanted []string) bool {
	if !slices.Contains(wanted, all) {
		return sameSet(granted, wanted)
	}
	for _, privilege := range privilegesOf[objectType] {
		// MAINTAIN came with PostgreSQL 17.
		if privilege != "MAINTAIN" && !slices.Contains(granted, privilege) {
			return false
		}
	}
	return true
}
