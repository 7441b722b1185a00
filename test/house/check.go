package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// File is one Go file: its slash-separated path from the repository's root, and its text.
type File struct {
	Path string
	Text []byte
}

// Check returns one line for every violation in files, sorted, and nil when the house is in order.
func Check(files []File) []string {
	checker := &checker{fset: token.NewFileSet(), packages: map[string]string{}, documented: map[string]bool{}}
	for _, file := range files {
		checker.file(file)
	}
	checker.docs()
	sort.Strings(checker.found)
	return checker.found
}

type checker struct {
	fset  *token.FileSet
	found []string
	// packages maps a folder to the name of the package in it, documented says whether it has a doc.go.
	packages   map[string]string
	documented map[string]bool
}

// unit is a parsed file with what the rules ask of it.
type unit struct {
	path, folder string
	tree         *ast.File
	test         bool
	imports      map[string]string // name in this file → import path
}

func (c *checker) file(file File) {
	tree, err := parser.ParseFile(c.fset, file.Path, file.Text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		c.found = append(c.found, err.Error())
		return
	}
	u := &unit{path: file.Path, folder: path.Dir(file.Path), tree: tree, imports: map[string]string{}}
	u.test = strings.HasSuffix(file.Path, "_test.go")
	if !u.test && declares(tree) {
		c.packages[u.folder] = tree.Name.Name
	}
	if path.Base(file.Path) == "doc.go" && tree.Doc != nil {
		c.documented[u.folder] = true
	}
	if path.Base(u.path) == "deps.go" && !declares(tree) {
		return // blank imports that keep modules in go.mod before code uses them
	}
	if !ast.IsGenerated(tree) {
		c.size(u)
	}
	c.names(u)
	c.directions(u)
	c.bodies(u)
	c.comments(u)
}

// declares says whether a file has anything but imports and an empty main.
func declares(tree *ast.File) bool {
	return slices.ContainsFunc(tree.Decls, func(decl ast.Decl) bool {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			return d.Name.Name != "main" || len(d.Body.List) > 0
		case *ast.GenDecl:
			return d.Tok != token.IMPORT
		}
		return true
	})
}

func (c *checker) report(u *unit, pos token.Pos, format string, args ...any) {
	line := c.fset.Position(pos).Line
	c.found = append(c.found, fmt.Sprintf("%s:%d: %s", u.path, line, fmt.Sprintf(format, args...)))
}

func (c *checker) size(u *unit) {
	for _, decl := range u.tree.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		lines := c.fset.Position(function.End()).Line - c.fset.Position(function.Pos()).Line + 1
		if lines > maxFunction {
			c.report(u, function.Pos(), "%s has %d lines, more than %d", function.Name.Name, lines, maxFunction)
		}
		if n := statements(function); n > maxStatements {
			c.report(u, function.Pos(), "%s has %d statements, more than %d", function.Name.Name, n, maxStatements)
		}
	}
}

func statements(function *ast.FuncDecl) (n int) {
	ast.Inspect(function, func(node ast.Node) bool {
		switch node.(type) {
		case *ast.BlockStmt, *ast.CaseClause, *ast.CommClause:
		case ast.Stmt:
			n++
		}
		return true
	})
	return n
}

func (c *checker) names(u *unit) {
	name := strings.TrimSuffix(u.tree.Name.Name, "_test")
	if badNames[name] {
		c.report(u, u.tree.Package, "package %s: name it after what it is", name)
	}
}

// directions checks imports, and notes the name that each has in the file.
func (c *checker) directions(u *unit) {
	for _, spec := range u.tree.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(target)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		u.imports[name] = target
		for _, b := range bans {
			if b.forbids(u, target) {
				c.report(u, spec.Pos(), "imports %s: %s", target, b.reason)
			}
		}
		if u.test {
			continue
		}
		if rule, ok := layerOf(u.folder); ok && !rule.allows(u.folder, target) {
			c.report(u, spec.Pos(), "imports %s: %s", target, rule.reason)
		}
	}
}

func (b ban) forbids(u *unit, target string) bool {
	if !slices.ContainsFunc(b.imports, func(banned string) bool { return within(target, banned) }) {
		return false
	}
	inside := slices.ContainsFunc(b.folders, func(folder string) bool { return within(u.folder, folder) })
	if b.only {
		return !inside
	}
	return inside && !u.test
}

func layerOf(folder string) (layer, bool) {
	best, ok := layer{}, false
	for _, l := range layers {
		if within(folder, l.folder) && len(l.folder) > len(best.folder) {
			best, ok = l, true
		}
	}
	return best, ok
}

// allows says whether a package of the layer may import target: anything that is not ours, its own subpackages and parents
// in the layer, and what the layer lists.
func (l layer) allows(folder, target string) bool {
	if target != product && !strings.HasPrefix(target, product+"/") {
		return true
	}
	ours := strings.TrimPrefix(strings.TrimPrefix(target, product), "/")
	if own, ok := layerOf(ours); ok && own.folder == l.folder {
		return true
	}
	return slices.Contains(l.ours, ours)
}

func (c *checker) bodies(u *unit) {
	ast.Inspect(u.tree, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		base, ok := selector.X.(*ast.Ident)
		if !ok {
			return true
		}
		for _, rule := range calls {
			if rule.forbids(u, base.Name, selector.Sel.Name) {
				c.report(u, selector.Pos(), "%s.%s: %s", base.Name, selector.Sel.Name, rule.reason)
			}
		}
		return true
	})
}

func (r call) forbids(u *unit, base, name string) bool {
	switch {
	case !slices.Contains(r.names, name), u.test && !r.inTests:
		return false
	case r.pkg == "" && (base != "t" && base != "b" && base != "tb"), r.pkg != "" && u.imports[base] != r.pkg:
		return false
	}
	below := func(folder string) bool { return within(u.folder, folder) }
	return (len(r.in) == 0 || slices.ContainsFunc(r.in, below)) && !slices.ContainsFunc(r.outside, below)
}

func (c *checker) comments(u *unit) {
	for _, group := range u.tree.Comments {
		for _, mark := range []string{"TODO", "FIXME", "XXX"} {
			if strings.Contains(group.Text(), mark) && u.folder != "test/house" {
				c.report(u, group.Pos(), "%s: do it, or file an issue", mark)
			}
		}
	}
}

func (c *checker) docs() {
	for folder, name := range c.packages {
		if name != "main" && !c.documented[folder] && folder != "test" {
			c.found = append(c.found, fmt.Sprintf("%s: package %s has no doc.go with a package comment", folder, name))
		}
	}
}

// within says whether name is folder or lies below it.
func within(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, folder+"/")
}
