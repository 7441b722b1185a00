package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Layers checks the tables of layers and bans against the packages that there are: each package of the product has a row of its own,
// each folder that a table names exists, and what a package imports through others breaks neither its row nor a ban. files are all of
// the repository.
func Layers(files []File) []string {
	packages := packagesOf(files)
	var found []string
	for folder := range packages {
		if ofProduct(folder) && !slices.ContainsFunc(layers, func(l layer) bool { return l.folder == folder }) {
			found = append(found, folder+": has no row in the table of layers: say what of ours it may import, and why")
		}
	}
	for _, name := range listed() {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(packages)), func(folder string) bool { return within(folder, name) }) {
			found = append(found, name+": is in a table of the house, and there is no such package")
		}
	}
	for folder := range packages {
		found = append(found, packages.through(folder)...)
	}
	slices.Sort(found)
	return found
}

// ofProduct says whether a folder is of the module that is shipped, but for its main package, which wires up everything.
func ofProduct(folder string) bool {
	return folder != "." && !within(folder, "test") && !within(folder, "hack")
}

// listed are the folders that the tables name.
func listed() []string {
	names := map[string]bool{}
	for _, l := range layers {
		names[l.folder] = true
		for _, name := range l.ours {
			names[name] = true
		}
	}
	for _, b := range bans {
		for _, name := range b.folders {
			names[name] = true
		}
	}
	for _, c := range calls {
		for _, name := range slices.Concat(c.in, c.outside) {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// graph is what each package imports outside its tests, by its folder.
type graph map[string]map[string]bool

func packagesOf(files []File) graph {
	g := graph{}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file.Path, file.Text, parser.SkipObjectResolution)
		if err != nil || strings.HasSuffix(file.Path, "_test.go") || !declares(tree) {
			continue
		}
		folder := path.Dir(file.Path)
		if g[folder] == nil {
			g[folder] = map[string]bool{}
		}
		g.add(folder, tree)
	}
	return g
}

func (g graph) add(folder string, tree *ast.File) {
	for _, spec := range tree.Imports {
		if target, err := strconv.Unquote(spec.Path.Value); err == nil {
			g[folder][target] = true
		}
	}
}

// through says what a package may not import and does, through others of ours. What it imports itself is said by Check.
func (g graph) through(folder string) (found []string) {
	u := &unit{path: folder, folder: folder}
	rule, ruled := layerOf(folder)
	seen := map[string]bool{folder: true}
	for queue := g.ours(folder); len(queue) > 0; queue = queue[1:] {
		via := queue[0]
		if seen[via] {
			continue
		}
		seen[via] = true
		for target := range g[via] {
			_, ours := g[strings.TrimPrefix(target, product+"/")]
			if direct := g[folder][target]; direct {
				continue
			}
			if ruled && ours && !rule.allows(folder, target) {
				found = append(found, fmt.Sprintf("%s: imports %s through %s: %s", folder, target, via, rule.reason))
			}
			for _, b := range bans {
				// The API's types bring libraries of Kubernetes along, and nothing else does.
				if b.through && !within(via, "api") && b.forbids(u, target) {
					found = append(found, fmt.Sprintf("%s: imports %s through %s: %s", folder, target, via, b.reason))
				}
			}
		}
		queue = append(queue, g.ours(via)...)
	}
	return found
}

// ours are the folders of the packages of ours that a package imports.
func (g graph) ours(folder string) (all []string) {
	for target := range g[folder] {
		if name, ok := strings.CutPrefix(target, product+"/"); ok {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
