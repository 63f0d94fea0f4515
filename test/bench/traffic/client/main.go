// Command traffic is both ends of the benchmark: `traffic serve` is a slot's server with an append-only ledger,
// `traffic load` the clients, which never send anything twice.
package main

import (
	"fmt"
	"os"
)

func main() {
	var err error
	switch command := os.Args[1]; command {
	case "serve":
		err = serve(os.Args[2:])
	case "load":
		err = load(os.Args[2:])
	default:
		err = fmt.Errorf("unknown command %q, expected serve or load", command)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
