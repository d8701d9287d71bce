package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/plugins/persist/internal/contract"
)

func TestGet(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("1", `{"collection":"c","records":[{"key":"a","doc":{"t":"<&>"}},{"key":"ключ \"1\"","doc":null}]}`)
	f.advance(1500 * time.Millisecond)
	f.write("2", `{"collection":"c","records":[{"key":"a","doc":{"t":"<&>","u":1}}]}`)
	got := f.get("nobody", "ключ \"1\"", "a", "nobody", "a")
	f.is("in the order asked for", got, `{"records":[`+
		`{"key":"ключ \"1\"","doc":null,"version":1,"updated_at":"2026-05-01T12:00:00Z"},`+
		`{"key":"a","doc":{"t":"\u003c\u0026\u003e","u":1},"version":2,"updated_at":"2026-05-01T12:00:01.5Z"}],"missing":["nobody"]}`)
	f.is("nothing asked for", f.get(), `{"records":[],"missing":[]}`)
}

func TestGetOfTooMuch(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.getBytes, f.pageBytes = 250, 80
	large := `"` + strings.Repeat("x", 98) + `"`
	for _, key := range []string{"a", "b", "c"} {
		f.write(key, `{"collection":"c","records":[{"key":"`+key+`","doc":`+large+`}]}`)
	}
	_, err := f.Get(t.Context(), contract.Get{Collection: "c", Keys: []string{"a", "b", "c"}})
	var refused *contract.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "fewer keys") {
		t.Errorf("error %v, want a refusal", err)
	}
	if got := f.get("a", "b"); len(got.Records) != 2 {
		t.Errorf("within the limit: %d records", len(got.Records))
	}
	var keys []string
	page := f.query(contract.Query{})
	for ; page.Next != ""; page = f.query(contract.Query{Cursor: page.Next}) {
		keys = append(keys, page.Records[0].Key)
	}
	if keys = append(keys, page.Records[0].Key); !slices.Equal(keys, []string{"a", "b", "c"}) {
		t.Errorf("pages of large documents gave %q", keys)
	}
}

func TestQueryPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var records, want []string
	for i := range 257 {
		key := fmt.Sprintf("k%03d", i)
		records = append(records, fmt.Sprintf(`{"key":"%s","doc":{"odd":%t}}`, key, i%2 == 1))
		if i%2 == 1 && i != 5 {
			want = append(want, key)
		}
	}
	f.write("1", `{"collection":"c","records":[`+strings.Join(records, ",")+`]}`)
	f.write("2", `{"collection":"other","records":[{"key":"k0015","doc":{"odd":true}}]}`)
	f.delete("3", "k005")
	var got []string
	q := contract.Query{Limit: 10, Where: map[string]json.RawMessage{"odd": []byte("true")}}
	for pages := 1; ; pages++ {
		page := f.query(q)
		for _, r := range page.Records {
			got = append(got, r.Key)
		}
		if pages == 3 { // behind and before the cursor
			f.write("4", `{"collection":"c","records":[{"key":"k0001","doc":{"odd":true}},{"key":"k9","doc":{"odd":true}}]}`)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
		if len(page.Records) != 10 {
			t.Fatalf("page %d has %d records", pages, len(page.Records))
		}
	}
	if want = append(want, "k9"); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if page := f.query(contract.Query{}); len(page.Records) != contract.DefaultLimit || page.Next == "" {
		t.Errorf("without a limit: %d records, next %q", len(page.Records), page.Next)
	}
	if page := f.query(contract.Query{Limit: 258}); len(page.Records) != 258 || page.Next != "" {
		t.Errorf("exactly all: %d records, next %q", len(page.Records), page.Next)
	}
}

func TestQueryWhere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("1", `{"collection":"c","records":[
		{"key":"int","doc":{"v":1}}, {"key":"float","doc":{"v":1.0}}, {"key":"true","doc":{"v":true}}, {"key":"string","doc":{"v":"1"}},
		{"key":"null","doc":{"v":null}}, {"key":"none","doc":{}}, {"key":"array","doc":{"v":[1]}}, {"key":"text of array","doc":{"v":"[1]"}},
		{"key":"big","doc":{"v":9007199254740993}}, {"key":"big-1","doc":{"v":9007199254740992}},
		{"key":"deep","doc":{"a":{"b":{"c":"x"}}}}, {"key":"deep array","doc":{"a":[{"b":1}]}}, {"key":"scalar","doc":7},
		{"key":"odd names","doc":{"q\"u":1,"back\\slash":2,"<é>":3,"":4,"sp ace":5,"'":6}},
		{"key":"odd text","doc":{"s":"q\" \\ \n <é> \u2028 '"}}
	]}`)
	for where, want := range map[string]string{
		`{"v":1}`:                "float,int",
		`{"v":1.0}`:              "float,int",
		`{"v":"1"}`:              "string",
		`{"v":true}`:             "true",
		`{"v":false}`:            "",
		`{"v":null}`:             "null",
		`{"v":"[1]"}`:            "text of array",
		`{"v":9007199254740993}`: "big",
		`{"a.b.c":"x"}`:          "deep",
		`{"a.b":"x"}`:            "",
		`{"a.0.b":1}`:            "",
		`{"a.b.c":"x","v":1}`:    "",
		`{"q\"u":1,"back\\slash":2,"<é>":3,"sp ace":5,"'":6}`: "odd names",
		`{"s":"q\" \\ \n <é> \u2028 '"}`:                      "odd text",
		`{"v":"') OR 1=1 --"}`:                                "",
		`{"x') OR 1=1 --":1}`:                                 "",
		`{}`:                                                  "array,big,big-1,deep,deep array,float,int,none,null,odd names,odd text,scalar,string,text of array,true",
	} {
		var q contract.Query
		if err := json.Unmarshal([]byte(`{"where":`+where+`}`), &q); err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, r := range f.query(q).Records {
			keys = append(keys, r.Key)
		}
		if got := strings.Join(keys, ","); got != want {
			t.Errorf("where %s gave %q, want %q", where, got, want)
		}
	}
}

func TestQueryRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct {
		query contract.Query
		want  string
	}{
		{contract.Query{Where: map[string]json.RawMessage{"a": []byte(`{}`)}}, "where.a is an object or an array"},
		{contract.Query{Where: map[string]json.RawMessage{"a": []byte(`[1]`)}}, "where.a is an object or an array"},
		{contract.Query{Where: map[string]json.RawMessage{"a": []byte(`1e999`)}}, "where.a is 1e999, beyond"},
		{contract.Query{Cursor: "***"}, `cursor is "***"`},
	} {
		_, err := f.Query(t.Context(), c.query)
		var refused *contract.RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want a refusal with %q", err, c.want)
		}
	}
}
