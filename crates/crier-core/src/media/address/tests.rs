//! Addresses by their letters and by their numbers.

use super::*;

#[test]
fn only_the_public_internet_is_public() {
    for public in [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.216.34",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "2001:200::1",
        "2001:db9::1",
        "64:ff9b::808:808",
    ] {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
    for inner in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::",
        "3fff::1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "5f00::1",
        "4000::1",
    ] {
        assert!(!is_public(inner.parse().unwrap()), "{inner}");
    }
}

#[test]
fn the_rules_say_which_addresses_are_asked() {
    let strict = UrlRules::default();
    let open = UrlRules {
        allow_http: true,
        allow_private: true,
        ports: vec![80, 443, 8080],
    };
    // Address, whether the usual rules take it, whether those that allow everything do.
    for (text, usual, all) in [
        ("https://example.com/a.png", true, true),
        ("HTTPS://EXAMPLE.com:443/a?b#c", true, true),
        ("https://93.184.216.34/a", true, true),
        ("https://[2606:4700::1111]/a", true, true),
        ("https://example.com:80/a", true, true),
        ("http://example.com/a", false, true),
        ("https://example.com:8080/a", false, true),
        ("https://example.com:22/a", false, false),
        ("https://localhost/a", false, true),
        ("https://LocalHost./a", false, true),
        ("https://a.localhost/a", false, true),
        ("https://127.0.0.1/a", false, true),
        ("https://127.1/a", false, true),
        ("https://2130706433/a", false, true),
        ("https://0x7f000001/a", false, true),
        ("https://0177.0.0.1/a", false, true),
        ("https://169.254.169.254/latest/meta-data", false, true),
        ("https://[::1]/a", false, true),
        ("https://[::ffff:10.0.0.1]/a", false, true),
        ("https://10.0.0.1/a", false, true),
        ("https://user@example.com/a", false, false),
        ("https://:pw@example.com/a", false, false),
        ("https://example.com\\@localhost/a", false, false),
        ("https://exa mple.com/a", false, false),
        (" https://example.com/a", false, false),
        ("https:///a", false, false),
        ("https:example.com", false, false),
        ("file:///etc/passwd", false, false),
        ("ftp://example.com/a", false, false),
        ("data:image/png;base64,AAAA", false, false),
        ("//example.com/a", false, false),
        ("a.png", false, false),
        ("", false, false),
    ] {
        assert_eq!(strict.check(text).is_ok(), usual, "{text}");
        assert_eq!(open.check(text).is_ok(), all, "{text}");
    }
}

#[test]
fn what_may_be_secret_in_an_address_is_not_repeated() {
    for text in [
        "http://example.com/a?sig=hunter22#hunter22",
        "https://hunter22:hunter22@example.com/a",
        "https://10.0.0.1/a?hunter22",
        "https://example.com:1/?hunter22",
    ] {
        let fault = UrlRules::default().check(text).unwrap_err();
        assert_eq!(
            (fault.code.as_str(), fault.permanent),
            ("media_url_refused", true)
        );
        assert!(!fault.hint.is_empty());
        assert!(!format!("{fault:?}").contains("hunter22"), "{fault}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic(text in "(https?://)?([a-c@:/?#.\\[\\]\\\\0-9]|\\PC){0,20}") {
        if let Ok(url) = UrlRules::default().check(&text) {
            proptest::prop_assert_eq!(url.scheme(), "https");
            proptest::prop_assert!(url.username().is_empty());
        }
    }
}
