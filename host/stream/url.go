package stream

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// parseURL reads redis://, rediss:// and unix:// URLs. Its errors never show the
// password.
func parseURL(raw string) (*redis.Options, error) {
	u, err := url.Parse(raw)
	if err != nil { // its text repeats the URL
		return nil, fmt.Errorf("%w: it cannot be read as a URL; write redis://[user:password@]host[:port][/db], with special characters of the password as %%XX", ErrUnsupportedURL)
	}
	if err := refuse(u); err != nil {
		return nil, err
	}
	o, err := redis.ParseURL(raw)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrUnsupportedURL, u.Redacted(), err)
	}
	return o, nil
}

// refuse names the forms that this version does not speak, and what to do.
func refuse(u *url.URL) error {
	query := u.Query()
	switch scheme := strings.ToLower(u.Scheme); {
	case strings.Contains(scheme, "sentinel"), query.Has("master_name"), query.Has("sentinel_master"):
		return fmt.Errorf("%w %s: Sentinel is not supported yet; give the primary's own address, redis://host:port/db (ask a sentinel for it: SENTINEL GET-MASTER-ADDR-BY-NAME name)", ErrUnsupportedURL, u.Redacted())
	case strings.Contains(scheme, "cluster"), query.Has("addr"), strings.Contains(u.Host, ","):
		return fmt.Errorf("%w %s: Redis Cluster is not supported yet; give the address of a single primary, redis://host:port/db", ErrUnsupportedURL, u.Redacted())
	case scheme != "redis" && scheme != "rediss" && scheme != "unix":
		return fmt.Errorf("%w %q: it begins with redis://, rediss:// (TLS) or unix:// (a socket's path)", ErrUnsupportedURL, u.Redacted())
	}
	return nil
}
