package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Redis says where Redis is. It never prints its password.
type Redis struct {
	URL      string // for the client only: it holds the password. Redacted is for eyes
	Given    bool   // someone said where Redis is, by REDIS_URL or REDIS_HOST
	Host     string
	Port     int
	DB       int
	Password string
}

// Redacted is the URL with *** for its password.
func (r Redis) Redacted() string { return redactURL(r.URL) }

// String is Redacted.
func (r Redis) String() string { return r.Redacted() }

// GoString is Redacted: the password stays out of %#v too.
func (r Redis) GoString() string { return r.Redacted() }

// LogValue is Redacted.
func (r Redis) LogValue() slog.Value { return slog.StringValue(r.Redacted()) }

// errNotURL shows nothing of the URL, which may hold a password.
var errNotURL = errors.New("it is not of the form redis://user:password@host:port/db (or rediss://, or unix:///path?db=n); characters such as @ / : # ? % in the password must be percent-encoded")

// redisURL checks what can be checked without the client.
func redisURL(c *Config, raw string) error {
	c.Redis.URL = raw
	if !strings.Contains(raw, "://") {
		return errors.New("it has no scheme: write redis:// (or rediss://, or unix://) before it")
	}
	if what, several := severalServers(raw); several {
		c.unsupported("REDIS_URL: %s is not available yet: give the URL of one server (redis://, rediss:// or unix://)", what)
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Fragment != "" {
		return errNotURL
	}
	scheme, err := parseChoice(u.Scheme, []string{"redis", "rediss", "unix"})
	if err != nil {
		return fmt.Errorf("its scheme %w", err)
	}
	if scheme == "unix" {
		return checkSocket(u)
	}
	return checkServer(u)
}

func checkSocket(u *url.URL) error {
	if u.Path == "" {
		return errNotURL
	}
	return nil
}

func checkServer(u *url.URL) error {
	if u.Hostname() == "" {
		return errNotURL
	}
	if port := u.Port(); port != "" {
		if _, err := parseWhole(port, 1, 65535); err != nil {
			return errors.New("its port is not between 1 and 65535")
		}
	}
	if db := strings.Trim(u.Path, "/"); db != "" {
		if _, err := parseWhole(db, 0, 1<<20); err != nil {
			return errors.New("its path is not the number of a database, as /0")
		}
	}
	return nil
}

// severalServers recognises the forms that name a cluster or sentinels.
func severalServers(raw string) (what string, yes bool) {
	scheme, rest, _ := strings.Cut(raw, "://")
	_, query, _ := strings.Cut(rest, "?")
	hosts, _, _ := strings.Cut(rest[strings.LastIndex(rest, "@")+1:], "/")
	switch {
	case strings.Contains(scheme, "sentinel"), strings.Contains(query, "master_name="):
		return "Redis Sentinel", true
	case strings.Contains(scheme, "cluster"), strings.HasPrefix(query, "addr="), strings.Contains(query, "&addr="), strings.Contains(hosts, ","):
		return "Redis Cluster", true
	}
	return "", false
}

// settle makes the URL of the parts if none was given.
func (r *Redis) settle() {
	if r.URL != "" {
		return
	}
	u := url.URL{Scheme: "redis", Host: net.JoinHostPort(r.Host, strconv.Itoa(r.Port)), Path: "/" + strconv.Itoa(r.DB)}
	if r.Password != "" {
		u.User = url.UserPassword("", r.Password)
	}
	r.URL = u.String()
}

// redactURL puts *** for every password of a URL; for what is no URL, for all of it.
func redactURL(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil {
		return hidden
	}
	shown := u.Scheme + "://"
	if u.User != nil {
		shown += url.User(u.User.Username()).String()
		if _, ok := u.User.Password(); ok {
			shown += ":" + hidden
		}
		shown += "@"
	}
	shown += u.Host + u.EscapedPath()
	if u.RawQuery != "" {
		shown += "?" + redactQuery(u.RawQuery)
	}
	return shown
}

func redactQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		if key, _, _ := strings.Cut(pair, "="); secretName.MatchString(key) {
			pairs[i] = key + "=" + hidden
		}
	}
	return strings.Join(pairs, "&")
}
