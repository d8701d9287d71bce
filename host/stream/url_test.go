package stream

import (
	"errors"
	"strings"
	"testing"
)

func TestURLsThatAreRefusedSayWhyAndHideThePassword(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis+cluster://:hunter2@a:6379":                 "Cluster",
		"rediss+cluster://:hunter2@a:6379":                "Cluster",
		"redis://:hunter2@a:6379?addr=b:6379&addr=c:6379": "Cluster",
		"redis://:hunter2@a:6379,b:6379":                  "Cluster",
		"redis+sentinel://:hunter2@a:26379/mymaster":      "Sentinel",
		"redis-sentinel://:hunter2@a:26379":               "Sentinel",
		"redis://:hunter2@a:26379?master_name=mymaster":   "Sentinel",
		"http://:hunter2@a:6379":                          "redis://",
		"localhost:6379":                                  "redis://",
		"redis://:hunter2%@a:6379":                        "%XX",
		"redis://:hunter2@a:6379/zero":                    "",
		"redis://:hunter2@a:6379?no_such_option=1":        "",
		"": "redis://",
	} {
		_, err := Open(Options{URL: url})
		if !errors.Is(err, ErrUnsupportedURL) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want ErrUnsupportedURL that says %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is shown: %v", err)
		}
	}
}

func TestURLsThatAreUnderstood(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis://localhost", "redis://user:pass@h:6380/3", "rediss://h:6379", "unix:///run/redis.sock?db=2"} {
		c, err := Open(Options{URL: url, Namespace: "n"})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if err := c.Close(); err != nil {
			t.Errorf("%s: close: %v", url, err)
		}
	}
}
