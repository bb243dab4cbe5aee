// cosign's own command line without the plug-ins for clouds' key stores: keys of ours are files, and the plug-ins are
// most of what there is to compile.
package main

import (
	"fmt"
	"os"

	"github.com/sigstore/cosign/v3/cmd/cosign/cli"
)

func main() {
	if err := cli.New().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
