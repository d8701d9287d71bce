package function

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/plugins/persist/internal/contract"
	"github.com/fnhost/fnhost/plugins/persist/internal/store"
	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
	"github.com/fnhost/fnhost/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const one = `{"collection":"answers","records":[{"key":"q1","doc":{"answer":"42","score":0.5}}]}`

func entry(id string) sdktest.Option { return func(d *fnhostv1.Delivery) { d.EntryId = id } }

func TestOverTheWire(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := sdktest.New(t, New("1.2.3"), sdktest.StateDir(dir))
	ask := func(messageType, data, want string, opts ...sdktest.Option) {
		t.Helper()
		r := h.Deliver("", []byte(data), append(opts, sdktest.Type(messageType))...).RequireDone(t)
		var got any
		if err := r.JSON(&got); err != nil {
			t.Fatal(err)
		}
		for _, record := range at(got, "records") {
			delete(record.(map[string]any), "updated_at") // the time of the test
		}
		if text := string(sdktest.JSON(got)); text != want {
			t.Errorf("%s %s:\n got %s\nwant %s", messageType, data, text, want)
		}
	}
	ask("persist.write", one,
		`{"duplicate":false,"errors":[],"inserted":1,"unchanged":0,"updated":0,"versions":{"q1":1},"written":1}`, sdktest.ID("w1"))
	ask("persist.write", one,
		`{"duplicate":true,"errors":[],"inserted":1,"unchanged":0,"updated":0,"versions":{"q1":1},"written":1}`, sdktest.ID("w1"), sdktest.Attempt(2))
	ask("persist.get", `{"collection":"answers","keys":["q1","q2"]}`,
		`{"missing":["q2"],"records":[{"doc":{"answer":"42","score":0.5},"key":"q1","version":1}]}`)
	ask("persist.query", `{"collection":"answers","where":{"score":0.5},"limit":10}`,
		`{"next":"","records":[{"doc":{"answer":"42","score":0.5},"key":"q1","version":1}]}`)
	ask("persist.delete", `{"collection":"answers","keys":["q1"]}`, `{"deleted":1,"duplicate":false,"missing":0}`, sdktest.ID("d1"))
	ask("persist.get", `{"collection":"answers","keys":["q1"]}`, `{"missing":["q1"],"records":[]}`)
	if _, err := os.Stat(filepath.Join(dir, "persist.db")); err != nil {
		t.Errorf("the database is not in the state directory: %v", err)
	}
	if d := h.Describe(); d.GetRole() != "persist" || d.GetVersion() != "1.2.3" {
		t.Errorf("describes itself as %v", d)
	}
}

// at gives the array under a name, or nothing.
func at(v any, name string) []any {
	object, _ := v.(map[string]any)
	list, _ := object[name].([]any)
	return list
}

func TestWhoseMessageItIs(t *testing.T) {
	t.Parallel()
	h := sdktest.New(t, New("dev"))
	write := func(want bool, opts ...sdktest.Option) {
		t.Helper()
		var got contract.Written
		if err := h.Deliver("", []byte(one), append(opts, sdktest.Type("persist.write"))...).RequireDone(t).JSON(&got); err != nil {
			t.Fatal(err)
		}
		if got.Duplicate != want {
			t.Errorf("duplicate is %t, want %t", got.Duplicate, want)
		}
	}
	source := func(s string) sdktest.Option { return sdktest.Attr("source", s) }
	write(false, sdktest.ID("1"), source("/a"))
	write(false, sdktest.ID("1"), source("/b"))
	write(true, sdktest.ID("1"), source("/b"))
	write(false, entry("1700000000000-0"))
	write(false, entry("1700000000000-1"))
	write(true, entry("1700000000000-0"))
	write(true, entry("1800000000000-0"), sdktest.ID("1700000000000-0")) // requeued from the dead letters

	other := strings.Replace(one, "42", "43", 1)
	r := h.Deliver("", []byte(other), sdktest.Type("persist.write"), sdktest.ID("1"), source("/a")).Require(t, sdktest.Dead)
	if _, message := r.Error(); !strings.Contains(message, `["persist:tasks","/a","1"]`) {
		t.Errorf("error %q does not name the message", message)
	}
	h.Deliver("", []byte(`{"collection":"answers","keys":["q1"]}`), sdktest.Type("persist.delete"), sdktest.ID("1"), source("/a")).
		Require(t, sdktest.Dead)
}

func TestBadInputIsDeadLettered(t *testing.T) {
	t.Parallel()
	h := sdktest.New(t, New("dev"))
	long := func(n int) string { return strings.Repeat("k", n) }
	many := func(item string, n int) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	for _, c := range []struct{ messageType, data, want string }{
		{"persist.write", ``, "no data"},
		{"persist.write", `{`, "not JSON"},
		{"persist.write", `null`, "collection is missing"},
		{"persist.write", `[]`, "want"},
		{"persist.write", `{"collection":"c","records":[{"key":"a","doc":"` + "\xff" + `"}]}`, "not valid UTF-8"},
		{"persist.write", `{"records":[]}`, "collection is missing"},
		{"persist.write", `{"collection":"a b","records":[]}`, `collection is "a b"; want 1 to 128 of`},
		{"persist.write", `{"collection":"` + long(129) + `","records":[]}`, "want 1 to 128 of"},
		{"persist.write", `{"collection":"c\n","records":[]}`, "want 1 to 128 of"},
		{"persist.write", `{"collection":"c"}`, "records is missing"},
		{"persist.write", `{"collection":"c","records":null}`, "records is missing"},
		{"persist.write", `{"collection":"c","records":{}}`, "want"},
		{"persist.write", `{"collection":"c","mode":"replace","records":[]}`, `mode is "replace"; want upsert, insert or merge`},
		{"persist.write", `{"collection":"c","records":[{"key":"a","doc":1},{"doc":1}]}`, "records[1].key is missing or empty"},
		{"persist.write", `{"collection":"c","records":[{"key":"` + long(513) + `","doc":1}]}`, "records[0].key is longer than 512 bytes"},
		{"persist.write", `{"collection":"c","records":[{"key":"a\u0000","doc":1}]}`, "records[0].key contains NUL"},
		{"persist.write", `{"collection":"c","records":[{"key":7,"doc":1}]}`, "records.key"},
		{"persist.write", `{"collection":"c","records":[{"key":"a"}]}`, `records[0].doc is missing (key "a")`},
		{"persist.write", `{"collection":"c","records":[{"key":"a","doc":1,"if_version":-1}]}`, "records[0].if_version is -1"},
		{"persist.write", `{"collection":"c","records":[{"key":"a","doc":1,"if_version":1.5}]}`, "records.if_version"},
		{"persist.write", `{"collection":"c","records":[{"key":"a","doc":1,"if_versoin":1}]}`, `unknown field "if_versoin"`},
		{"persist.write", `{"collection":"c","records":[` + many(`{"key":"a","doc":1}`, 10_001) + `]}`, "10001 records; a message may have 10000"},
		{"persist.delete", `{"keys":["a"]}`, "collection is missing"},
		{"persist.delete", `{"collection":"c"}`, "keys is missing"},
		{"persist.delete", `{"collection":"c","keys":["a",""]}`, "keys[1] is missing or empty"},
		{"persist.delete", `{"collection":"c","keys":["a"],"force":true}`, `unknown field "force"`},
		{"persist.get", `{"collection":"../c","keys":["a"]}`, "collection is"},
		{"persist.get", `{"collection":"c","keys":[` + many(`"a"`, 10_001) + `]}`, "10001 keys; a message may have 10000"},
		{"persist.query", `{"collection":"c","limit":1001}`, "limit is 1001; want 1 to 1000"},
		{"persist.query", `{"collection":"c","limit":-1}`, "limit is -1"},
		{"persist.query", `{"collection":"c","where":{"a..b":1}}`, `where has the field "a..b"`},
		{"persist.query", `{"collection":"c","where":{"a":[1]}}`, "where.a is an object or an array"},
		{"persist.query", `{"collection":"c","cursor":"%"}`, `cursor is "%"; want the next`},
		{"persist.upsert", one, "persist.delete, persist.get, persist.query, persist.write"},
	} {
		r := h.Deliver("", []byte(c.data), sdktest.Type(c.messageType))
		if _, message := r.Error(); r.Verdict() != sdktest.Dead || !strings.Contains(message, c.want) {
			t.Errorf("%s %.80q: %s: %.200q, want dead with %q", c.messageType, c.data, r.Verdict(), message, c.want)
		}
	}
	r := h.Deliver("", []byte(one), sdktest.Type("persist.write"), sdktest.ID(long(5000)))
	if _, message := r.Error(); r.Verdict() != sdktest.Dead || !strings.Contains(message, "4096 is the limit") {
		t.Errorf("a very long id: %.200s", r)
	}
	for _, ok := range []string{
		`{"collection":"` + long(128) + `","records":[{"key":"` + long(512) + `","doc":null}]}`,
		`{"collection":"c","records":[` + many(`{"key":"a","doc":1}`, 10_000) + `]}`,
	} {
		h.Deliver("", []byte(ok), sdktest.Type("persist.write")).RequireDone(t)
	}
}

func TestOtherErrorsAreRetried(t *testing.T) {
	t.Parallel()
	f := New("dev")
	if err := f.Configure(t.Context(), sdk.Settings{JSON: []byte(`{}`), StateDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for messageType, data := range map[string]string{"persist.write": one, "persist.get": `{"collection":"c","keys":["a"]}`} {
		_, err := f.Handler.Handle(t.Context(), &sdk.Message{ID: "1", Type: messageType, Data: []byte(data)})
		if _, permanent := errors.AsType[*sdk.PermanentError](err); err == nil || permanent {
			t.Errorf("%s on a database that is gone: %v, want an error that is retried", messageType, err)
		}
	}
	_, err := f.Handler.Handle(t.Context(), &sdk.Message{ID: "1", Type: "persist.write", Data: []byte(one)})
	if !errors.Is(err, store.ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ settings, setting, want string }{
		{`{"inbox_retention":"24h"}`, "", ""},
		{`{}`, "", ""},
		{`{"inbox_retenton":"24h"}`, "inbox_retenton", "not a setting"},
		{`{"inbox_retention":"7d"}`, "inbox_retention", `is "7d"; want a duration`},
		{`{"inbox_retention":"1s"}`, "inbox_retention", "at least 1m0s"},
		{`{"inbox_retention":""}`, "inbox_retention", "want a duration"},
		{`{"inbox_retention":604800}`, "inbox_retention", "is a number"},
	} {
		f := New("dev")
		err := f.Configure(t.Context(), sdk.Settings{JSON: json.RawMessage(c.settings), StateDir: t.TempDir(), Concurrency: 1})
		wrong, _ := errors.AsType[*sdk.SettingError](err)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.settings, err)
		case c.want != "" && (wrong == nil || wrong.Setting != c.setting || !strings.Contains(wrong.Message, c.want)):
			t.Errorf("%s: %v, want one of %s with %q", c.settings, err, c.setting, c.want)
		}
		if err := f.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestNoStateDirectory(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "missing")} {
		f := New("dev")
		if err := f.Configure(t.Context(), sdk.Settings{JSON: []byte(`{}`), StateDir: dir}); err == nil {
			t.Errorf("state directory %q was accepted", dir)
		}
		if err := f.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
