package store

import (
	"strings"
	"testing"

	"github.com/fnhost/fnhost/plugins/persist/internal/contract"
)

func TestUpsert(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.is("first", f.write("1", `{"collection":"c","records":[{"key":"a","doc":{"x":1}},{"key":"b","doc":[]}]}`),
		`{"written":2,"inserted":2,"updated":0,"unchanged":0,"versions":{"a":1,"b":1},"errors":[],"duplicate":false}`)
	f.is("second", f.write("2", `{"collection":"c","mode":"upsert","records":[{"key":"a","doc":{"x":2}},{"key":"b","doc":[]}]}`),
		`{"written":1,"inserted":0,"updated":1,"unchanged":1,"versions":{"a":2,"b":1},"errors":[],"duplicate":false}`)
	f.docIs("a", `{"x":2}@2`)
	f.docIs("b", `[]@1`)
	f.is("none", f.write("3", `{"collection":"c","records":[]}`),
		`{"written":0,"inserted":0,"updated":0,"unchanged":0,"versions":{},"errors":[],"duplicate":false}`)
}

func TestEqualDocumentIsUnchanged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("1", `{"collection":"c","records":[{"key":"a","doc":{"x":1,"y":{"z":[100]}}}]}`)
	f.is("same in other words", f.write("2", `{"collection":"c","records":[{"key":"a","doc":{ "y":{"z":[1e2]}, "x":1.0 }}]}`),
		`{"written":0,"inserted":0,"updated":0,"unchanged":1,"versions":{"a":1},"errors":[],"duplicate":false}`)
	f.docIs("a", `{"x":1,"y":{"z":[100]}}@1`)
}

func TestNumbersKeepEveryDigit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("1", `{"collection":"c","records":[{"key":"a","doc":{"big":9007199254740993,"money":12.50}}]}`)
	f.docIs("a", `{"big":9007199254740993,"money":12.50}@1`)
	if got := f.write("2", `{"collection":"c","records":[{"key":"a","doc":{"big":9007199254740992,"money":12.50}}]}`); got.Updated != 1 {
		t.Errorf("a number that differs in its last digit: %+v", got)
	}
}

func TestCollectionsAreApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("1", `{"collection":"c","records":[{"key":"a","doc":1}]}`)
	f.write("2", `{"collection":"C","records":[{"key":"a","doc":2}]}`)
	f.docIs("a", "1@1")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ data, code, message string }{
		"insert exists":       {`{"collection":"c","mode":"insert","records":[{"key":"here","doc":9}]}`, "exists", "at version 2"},
		"must not exist":      {`{"collection":"c","records":[{"key":"here","doc":9,"if_version":0}]}`, "conflict", "if_version is 0 and the key is at version 2"},
		"old version":         {`{"collection":"c","records":[{"key":"here","doc":9,"if_version":1}]}`, "conflict", "if_version is 1 and the key is at version 2"},
		"same but old":        {`{"collection":"c","records":[{"key":"here","doc":{"v":2},"if_version":1}]}`, "conflict", "at version 2"},
		"absent":              {`{"collection":"c","records":[{"key":"here2","doc":9,"if_version":1}]}`, "conflict", "does not exist"},
		"deleted":             {`{"collection":"c","records":[{"key":"gone","doc":9,"if_version":1}]}`, "conflict", "does not exist"},
		"deleted, its stone":  {`{"collection":"c","records":[{"key":"gone","doc":9,"if_version":2}]}`, "conflict", "does not exist"},
		"merge, old version":  {`{"collection":"c","mode":"merge","records":[{"key":"here","doc":{"w":1},"if_version":1}]}`, "conflict", "at version 2"},
		"insert wants old":    {`{"collection":"c","mode":"insert","records":[{"key":"new","doc":9,"if_version":3}]}`, "conflict", "does not exist"},
		"insert twice in one": {`{"collection":"c","mode":"insert","records":[{"key":"new","doc":1},{"key":"new","doc":1}]}`, "exists", "at version 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.write("1", `{"collection":"c","records":[{"key":"here","doc":{"v":1}},{"key":"gone","doc":1}]}`)
			f.write("2", `{"collection":"c","records":[{"key":"here","doc":{"v":2}}]}`)
			f.delete("3", "gone")
			got := f.write("4", c.data)
			if len(got.Errors) != 1 || got.Errors[0].Code != c.code || !strings.Contains(got.Errors[0].Message, c.message) {
				t.Fatalf("errors %+v, want one %s with %q", got.Errors, c.code, c.message)
			}
			if got.Written != 0 || len(got.Versions) != 0 {
				t.Errorf("something was written: %+v", got)
			}
			f.docIs("here", `{"v":2}@2`)
			f.docIs("new", "none")
		})
	}
}

func TestIfVersionThatHolds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("1", `{"collection":"c","records":[{"key":"a","doc":1,"if_version":0}]}`)
	f.write("2", `{"collection":"c","records":[{"key":"a","doc":2,"if_version":1}]}`)
	f.write("3", `{"collection":"c","mode":"merge","records":[{"key":"a","doc":{"n":3},"if_version":2}]}`)
	f.docIs("a", `{"n":3}@3`)
	f.delete("4", "a")
	f.write("5", `{"collection":"c","records":[{"key":"a","doc":5,"if_version":0}]}`)
	f.docIs("a", "5@5")
}

func TestAtomicFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("1", `{"collection":"c","records":[{"key":"a","doc":1},{"key":"b","doc":1}]}`)
	got := f.write("2", `{"collection":"c","records":[{"key":"new","doc":1},{"key":"a","doc":2,"if_version":7},{"key":"x","doc":2},{"key":"b","doc":2,"if_version":0}]}`)
	f.is("all errors", got, `{"written":0,"inserted":0,"updated":0,"unchanged":0,"versions":{},"errors":[`+
		`{"key":"a","code":"conflict","message":"if_version is 7 and the key is at version 1"},`+
		`{"key":"b","code":"conflict","message":"if_version is 0 and the key is at version 1"}],"duplicate":false}`)
	for key, want := range map[string]string{"a": "1@1", "b": "1@1", "new": "none", "x": "none"} {
		f.docIs(key, want)
	}
	if n := f.count(`SELECT count(*) FROM records`); n != 2 {
		t.Errorf("%d rows, want the 2 of before", n)
	}
	if n := f.count(`SELECT count(*) FROM inbox WHERE status = 'refused'`); n != 1 {
		t.Errorf("%d refused tasks in the inbox, want 1", n)
	}
}

func TestNotAtomicWritesTheRest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("1", `{"collection":"c","records":[{"key":"a","doc":1}]}`)
	f.is("partial", f.write("2", `{"collection":"c","mode":"insert","atomic":false,"records":[{"key":"n1","doc":1},{"key":"a","doc":2},{"key":"n2","doc":1}]}`),
		`{"written":2,"inserted":2,"updated":0,"unchanged":0,"versions":{"n1":1,"n2":1},"errors":[{"key":"a","code":"exists","message":"the key exists, at version 1"}],"duplicate":false}`)
	for key, want := range map[string]string{"a": "1@1", "n1": "1@1", "n2": "1@1"} {
		f.docIs(key, want)
	}
	if n := f.count(`SELECT count(*) FROM inbox WHERE status = 'partial'`); n != 1 {
		t.Errorf("%d partial tasks in the inbox, want 1", n)
	}
}

func TestSameKeyTwiceInOneMessage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.is("upsert: the last wins", f.write("1", `{"collection":"c","records":[{"key":"a","doc":1,"if_version":9},{"key":"b","doc":0},{"key":"a","doc":2}]}`),
		`{"written":2,"inserted":2,"updated":0,"unchanged":0,"versions":{"a":1,"b":1},"errors":[],"duplicate":false}`)
	f.docIs("a", "2@1")
	f.is("merge: one after the other", f.write("2", `{"collection":"c","mode":"merge","records":[{"key":"m","doc":{"x":1}},{"key":"m","doc":{"y":2},"if_version":1}]}`),
		`{"written":2,"inserted":1,"updated":1,"unchanged":0,"versions":{"m":2},"errors":[],"duplicate":false}`)
	f.docIs("m", `{"x":1,"y":2}@2`)
}

func TestMergeMode(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("1", `{"collection":"c","records":[{"key":"a","doc":{"keep":1,"drop":2,"in":{"x":1}}},{"key":"s","doc":"text"}]}`)
	f.is("merged", f.write("2", `{"collection":"c","mode":"merge","records":[
		{"key":"a","doc":{"drop":null,"in":{"y":2}}},{"key":"s","doc":{"now":"object"}},{"key":"new","doc":{"x":null,"y":1}}]}`),
		`{"written":3,"inserted":1,"updated":2,"unchanged":0,"versions":{"a":2,"new":1,"s":2},"errors":[],"duplicate":false}`)
	f.docIs("a", `{"in":{"x":1,"y":2},"keep":1}@2`)
	f.docIs("s", `{"now":"object"}@2`)
	f.docIs("new", `{"y":1}@1`)
	f.is("no change", f.write("3", `{"collection":"c","mode":"merge","records":[{"key":"a","doc":{"keep":1.0,"absent":null}}]}`),
		`{"written":0,"inserted":0,"updated":0,"unchanged":1,"versions":{"a":2},"errors":[],"duplicate":false}`)
	f.delete("4", "a")
	f.write("5", `{"collection":"c","mode":"merge","records":[{"key":"a","doc":{"z":1}}]}`)
	f.docIs("a", `{"z":1}@4`)
}

func TestDocumentThatIsTooLarge(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", contract.MaxDocBytes/2)
	before := row{exists: true, version: 3, text: `{"one":"` + text + `"}`}
	for mode, r := range map[contract.Mode]record{
		contract.Upsert: {key: "a", text: `"` + text + text + `"`},
		contract.Merge:  {key: "a", doc: map[string]any{"two": text}},
	} {
		after, refusal, err := r.on(before, mode)
		if err != nil || refusal == nil || refusal.Code != contract.CodeTooLarge || after != before {
			t.Errorf("%s: %+v, %v, want too_large and no change", mode, refusal, err)
		}
	}
}

func TestBadDocuments(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	deep := strings.Repeat("[", 600) + strings.Repeat("]", 600)
	_, err := f.tryWrite("1", `{"collection":"c","records":[{"key":"a","doc":1},{"key":"b","doc":`+deep+`}]}`)
	if err == nil || !strings.Contains(err.Error(), `records[1].doc (key "b"): nested deeper than 512 levels`) {
		t.Errorf("error %v", err)
	}
	f.docIs("a", "none")
}

func TestDelete(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("1", `{"collection":"c","records":[{"key":"a","doc":1},{"key":"b","doc":1}]}`)
	f.is("delete", f.delete("2", "a", "nobody", "a"), `{"deleted":1,"missing":1,"duplicate":false}`)
	f.docIs("a", "none")
	f.docIs("b", "1@1")
	f.is("again", f.delete("3", "a"), `{"deleted":0,"missing":1,"duplicate":false}`)
	f.is("a new life", f.write("4", `{"collection":"c","mode":"insert","records":[{"key":"a","doc":1}]}`),
		`{"written":1,"inserted":1,"updated":0,"unchanged":0,"versions":{"a":3},"errors":[],"duplicate":false}`)
}
