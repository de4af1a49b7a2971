//! Which of file, environment and flag wins, and how wrong ones are named.

use super::*;

fn merged(file: &str, environment: &[(&str, &str)]) -> Result<Settings> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    merge(Defaults::start(), file.parse().unwrap(), environment)
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
    let file = "data_dir = '/var/lib/tidemark'\n[table]\nflush_bytes = 1000\nflush_age_ms = 5";
    let settings = merged(file, &[("TIDEMARK__TABLE__FLUSH_BYTES", "2000"), ("TIDEMARK__TRUST_LOOPBACK", "true")]);
    let settings = settings.unwrap();
    assert_eq!(settings.data_dir, Path::new("/var/lib/tidemark"));
    assert_eq!((settings.table.flush_bytes, settings.table.flush_age_ms), (2000, 5));
    assert_eq!(settings.table.row_group_rows, Settings::default().table.row_group_rows);
    assert!(settings.trust_loopback);
    let settings = merged("", &[("TIDEMARK__LISTEN_SQL", "0.0.0.0:1"), ("TIDEMARK__DATA_DIR", "2024")]).unwrap();
    assert_eq!(settings.listen_sql, "0.0.0.0:1".parse().unwrap());
    assert_eq!(settings.data_dir, Path::new("2024"));
}

#[test]
fn flags_win_over_everything() {
    let mut settings = merged("data_dir = 'a'\ntrust_loopback = true", &[]).unwrap();
    let flags = Flags { data_dir: Some("b".into()), ..Flags::default() };
    apply_flags(&mut settings, &flags);
    assert_eq!(settings.data_dir, Path::new("b"));
    assert!(settings.trust_loopback, "an absent flag changes nothing");
    let flags = Flags { listen_flight: Some("127.0.0.1:7000".parse().unwrap()), ..Flags::default() };
    apply_flags(&mut settings, &flags);
    assert_eq!(settings.listen_flight, "127.0.0.1:7000".parse().unwrap());
}

#[test]
fn wrong_settings_are_named() {
    let detail = |file, environment| merged(file, environment).unwrap_err().detail().unwrap_or_default().to_owned();
    assert!(detail("data_directory = 'a'", &[]).contains("data_directory"));
    assert!(detail("[table]\nflush = 1", &[]).contains("flush"));
    assert!(detail("", &[("TIDEMARK__TABLE__FLUSH_BYTES", "many")]).contains("many"));
    let error = merged("", &[("TIDEMARK__NOTHING__KEY", "1")]).unwrap_err();
    assert_eq!(error.message(), "TIDEMARK__NOTHING__KEY names no setting");
    assert!(merged("", &[("TIDEMARK__TABLE", "1")]).is_err());
    assert!(merged("", &[("TIDEMARK__NOTHING", "1")]).unwrap_err().detail().unwrap().contains("nothing"));
}
