package hosttest

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
)

// A history tells each thing that must not happen from what may.
func TestHistoryJudges(t *testing.T) {
	t.Parallel()
	rdb := Redis(t).Client()
	ctx := t.Context()
	at := Places{Stream: "s", Group: "g", Results: "r", DLQ: "d"}
	if err := rdb.XGroupCreateMkStream(ctx, at.Stream, at.Group, "0").Err(); err != nil {
		t.Fatal(err)
	}
	h := &History{}
	add := func(stream string, fields ...string) string {
		id, err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: fields}).Result()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	ids := map[string]string{}
	for _, name := range []string{"done", "dead", "twice", "both", "dead twice", "half", "lost", "pending"} {
		ids[name] = add(at.Stream, "name", name)
		h.Published(ids[name])
	}
	result := func(name, status string) { add(at.Results, "entryid", ids[name], "status", status) }
	letter := func(name string) { add(at.DLQ, "dlqid", ids[name]) }
	result("done", "ok")
	result("dead", "error")
	letter("dead")
	result("twice", "ok")
	result("twice", "ok")
	result("both", "ok")
	letter("both")
	result("dead twice", "error")
	letter("dead twice")
	letter("dead twice")
	letter("half")
	rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: at.Group, Consumer: "c", Streams: []string{at.Stream, ">"}})
	for name, id := range ids {
		if name != "pending" {
			rdb.XAck(ctx, at.Stream, at.Group, id)
		}
	}
	h.Published(add(at.Stream, "name", "unread"))
	add(at.Results, "entryid", "1-1", "status", "ok")

	v, err := h.Check(ctx, rdb, at)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, want string
		got        []string
	}{
		{"lost", ids["lost"], v.Lost}, {"duplicates", ids["twice"], v.Duplicates}, {"both", ids["both"], v.Both},
		{"dead twice", ids["dead twice"], v.DeadTwice}, {"half", ids["half"], v.Half}, {"strangers", "1-1", v.Strangers},
	} {
		if !slices.Equal(c.got, []string{c.want}) {
			t.Errorf("%s: %v, want %s", c.what, c.got, c.want)
		}
	}
	if v.Done != 1 || v.Dead != 1 || v.Waiting != 2 || v.Pending != 1 || v.Quiet() || v.Err() == nil {
		t.Errorf("%v, %v", v, v.Err())
	}
	rdb.XDel(ctx, at.Stream, ids["lost"])
	left, err := h.Surviving(ctx, rdb, at.Stream)
	if err != nil || left.Len() != h.Len()-1 {
		t.Errorf("%d of %d survive, %v", left.Len(), h.Len(), err)
	}
}
