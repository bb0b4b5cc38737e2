//! Environments, and the ways that follow from them.

use super::*;

fn rules(environment: &[(&str, &str)]) -> Rules {
    Rules::new(|name| {
        environment.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
    })
}

fn way(rules: &Rules, url: &str) -> String {
    rules.way(&url.parse().unwrap()).to_string()
}

#[test]
fn without_a_proxy_every_way_is_direct() {
    for environment in [&[][..], &[("HTTPS_PROXY", " "), ("http_proxy", ""), ("NO_PROXY", "*")]] {
        let rules = rules(environment);
        assert!(!rules.any());
        for url in ["https://kinesis.us-east-1.amazonaws.com/", "http://192.0.2.1:8080/x"] {
            assert_eq!(way(&rules, url), "directly");
        }
    }
}

#[test]
fn each_scheme_has_its_proxy_in_upper_or_lower_case() {
    let https = "https://logs.eu-west-1.amazonaws.com/";
    let http = "http://collector.example/";
    let (a, b) = ("through the proxy `http://a:1`", "through the proxy `https://b:2`");
    for (environment, of_https, of_http) in [
        (&[("HTTPS_PROXY", "http://a:1")][..], a, "directly"),
        (&[("https_proxy", "a:1")], a, "directly"),
        (&[("HTTP_PROXY", "https://b:2/")], "directly", b),
        (&[("http_proxy", "https://b:2"), ("HTTPS_PROXY", "http://a:1")], a, b),
        (&[("ALL_PROXY", "http://a:1")], a, a),
        (&[("all_proxy", "http://a:1"), ("http_proxy", "https://b:2")], a, b),
        (&[("HTTPS_PROXY", ""), ("https_proxy", "http://a:1")], a, "directly"),
        (&[("HTTPS_PROXY", "http://user:s3cret@a:1")], a, "directly"),
    ] {
        let rules = rules(environment);
        assert_eq!(way(&rules, https), of_https, "{environment:?}");
        assert_eq!(way(&rules, http), of_http, "{environment:?}");
        assert!(rules.any());
    }
}

#[test]
fn a_password_goes_to_the_proxy_and_nowhere_else() {
    let rules = rules(&[("HTTPS_PROXY", "user:s3cret@a:1")]);
    let way = rules.way(&Uri::from_static("https://h.example/"));
    assert!(!format!("{way} {way:?}").contains("s3cret"));
    let Way::Through(proxy) = way else { panic!("{way}") };
    assert_eq!(proxy.url, "http://user:s3cret@a:1");
}

#[test]
fn this_machine_and_the_places_of_credentials_are_never_behind_a_proxy() {
    let rules = rules(&[
        ("ALL_PROXY", "http://a:1"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://credentials.example:8443/x"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://[2001:db8::254]"),
    ]);
    for url in [
        "http://localhost:5000/",
        "http://LOCALHOST/",
        "http://localhost./",
        "http://a.localhost/",
        "https://127.0.0.1/",
        "http://127.8.9.10:80/",
        "http://[::1]:9/",
        "https://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://0.0.0.0:1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://169.254.170.2/v2/credentials",
        "http://169.254.170.23/v1/credentials",
        "http://[fd00:ec2::254]/",
        "http://[fd00:ec2::23]/",
        "http://[fe80::1]/",
        "https://credentials.example:8443/x",
        "http://[2001:db8::254]/latest",
    ] {
        assert_eq!(way(&rules, url), "directly", "{url}");
    }
    for url in [
        "http://localhost.example/",
        "http://169.253.169.254/",
        "http://[fd00:ec3::254]/",
        "https://sts.amazonaws.com/",
        "http://127.example/",
    ] {
        assert_eq!(way(&rules, url), "through the proxy `http://a:1`", "{url}");
    }
}

#[test]
fn no_proxy_lists_names_addresses_networks_and_ports() {
    let list = "example.com, .internal *.corp.example,[2001:db8::1],2001:db8:1::/48,10.0.0.0/8,\
                192.0.2.7,only.example:8443,[2001:db8::2]:8443,dot.example.";
    let rules = rules(&[("HTTPS_PROXY", "http://a:1"), ("no_proxy", list)]);
    for url in [
        "https://example.com/",
        "https://EXAMPLE.com:8443/",
        "https://api.example.com/",
        "https://x.internal/",
        "https://a.corp.example/",
        "https://[2001:db8::1]/",
        "https://[2001:DB8:0:0::1]:9/",
        "https://[2001:db8:1::9]/",
        "https://10.1.2.3/",
        "https://[::ffff:10.1.2.3]/",
        "https://192.0.2.7:9/",
        "https://only.example:8443/",
        "https://[2001:db8::2]:8443/",
        "https://dot.example/",
    ] {
        assert_eq!(way(&rules, url), "directly", "{url}");
    }
    for url in [
        "https://notexample.com/",
        "https://example.com.evil.example/",
        "https://[2001:db8::3]/",
        "https://11.1.2.3/",
        "https://192.0.2.8/",
        "https://only.example/",
        "https://[2001:db8::2]/",
    ] {
        assert_eq!(way(&rules, url), "through the proxy `http://a:1`", "{url}");
    }
    let none = self::rules(&[("ALL_PROXY", "http://a:1"), ("NO_PROXY", "*")]);
    assert_eq!(way(&none, "https://example.org/"), "directly");
}

#[test]
fn what_is_no_http_proxy_is_named_and_never_shown() {
    for value in ["socks5://u:s3cret@a:1", "ftp://u:s3cret@a", "http://", "/s3cret", "s3cret b"] {
        let rules = rules(&[("https_proxy", value), ("NO_PROXY", "example.com")]);
        let blocked = way(&rules, "https://example.org/");
        assert!(
            blocked.starts_with("nowhere: the environment variable `https_proxy`"),
            "{blocked}"
        );
        assert!(!blocked.contains("s3cret"), "{blocked}");
        assert_eq!(way(&rules, "https://example.com/"), "directly", "{value}");
    }
}
