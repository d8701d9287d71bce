package config

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/entries.golden anew")

func TestEntries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/fnhost.yaml", []byte(wholeFile), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Sources{
		Environ: []string{"KEY=s3kr", "REDIS_URL=rediss://me:s3kr@cache:6380/2", "REDIS_PASSWORD=s3kr", "OPS_HB_TTL=45", "REDIS_STREAM_DLQ="},
		Flags:   map[string]string{"FNHOST_PLUGIN_DIR": "p", "FNHOST_OUTPUT": "json"},
		WorkDir: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, e := range c.Entries() {
		if e.Help == "" {
			t.Errorf("%s has no help", e.Name)
		}
		fmt.Fprintf(&got, "%s = %s [%s]\n", e.Name, strings.ReplaceAll(e.Value, dir, "DIR"), e.Origin)
	}
	const golden = "testdata/entries.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("entries differ from %s; if that is right, run with -update:\n%s", golden, got.String())
	}
}

// TestNothingShowsASecret prints all that can be printed of a Config.
func TestNothingShowsASecret(t *testing.T) {
	t.Parallel()
	const yaml = `roles:
  rag:
    plugin:
      env: {A: s3kr, B: "${env:KEY}"}
      settings:
        password: s3kr
        api_key: s3kr
        nested: {token: s3kr}
        database: postgres://me:s3kr@db/x?sslpassword=s3kr
        dsn: host=db password=s3kr
        from_env: a-${env:KEY}-b
`
	for _, redis := range []string{
		"REDIS_PASSWORD=s3kr", "REDIS_URL=redis://me:s3kr@cache", "REDIS_URL=redis://:s3kr@cache/0?protocol=3",
		"REDIS_URL=redis+sentinel://me:s3kr@a,b/main?sentinel_password=s3kr", "REDIS_URL=redis://me:x@s3kr@cache",
	} {
		c := mustLoad(t, yaml, redis, "KEY=s3kr")
		var b bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&b, nil))
		log.Info("config", "redis", c.Redis, "entries", fmt.Sprint(c.Entries()), "warnings", c.Warnings, "refusal", fmt.Sprint(c.Refusal()))
		fmt.Fprintf(&b, "%v %+v %#v %s", c.Redis, c.Redis, c.Redis, c.Redis.Redacted())
		fmt.Fprintf(&b, "%v %+v %#v", c.Roles["rag"].Plugin, c.Roles["rag"].Plugin, c.Roles["rag"].Plugin)
		fmt.Fprintf(&b, "%v %+v %#v %v %#v", c, c, c, *c, *c)
		log.Info("config", "config", c)
		if at := strings.Index(b.String(), "s3kr"); at >= 0 {
			t.Errorf("%s: a secret is shown: ...%s...", redis, b.String()[max(0, at-100):at+4])
		}
	}
}

func TestNoErrorShowsAPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"me:s3kr@cache", "redis://me:s3kr@", "redis://me:s3kr@cache:port", "redis://me:s3kr@cache:99999", "http://me:s3kr@cache",
		"redis://me:x/s3kr@cache", "redis://me:1#s3kr@cache", "redis://me:%zzs3kr@cache", "redis://me:s3kr@cache/queue", "redis://:1/s3kr@cache",
	} {
		_, err := load(t, "", "REDIS_URL="+url)
		if err == nil || !strings.Contains(err.Error(), "REDIS_URL") || strings.Contains(err.Error(), "s3kr") {
			t.Errorf("%s: error %v", url, err)
		}
	}
}

func TestDocsAreCurrent(t *testing.T) {
	t.Parallel()
	const page = "../../docs/config.md"
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Markdown() {
		t.Errorf("%s is not what the settings say: run go generate in host/config", page)
	}
}
