//! Nexmark's queries q0 to q22 as views: those of Apache Beam and Flink (nexmark-flink, queries/*.sql) in PostgreSQL's
//! words. What a query asks is unchanged, but where it is said.
//!
//! Does not know: how they are run.

/// The tables, all APPEND ONLY, in the order of [`super::generator::Kind`].
pub const TABLES: [&str; 3] = [
    "CREATE TABLE person (id bigint, name text, email_address text, credit_card text, city text, state text, \
     date_time timestamp, extra text) APPEND ONLY",
    "CREATE TABLE auction (id bigint, item_name text, description text, initial_bid bigint, reserve bigint, \
     date_time timestamp, expires timestamp, seller bigint, category bigint, extra text) APPEND ONLY",
    "CREATE TABLE bid (auction bigint, bidder bigint, price bigint, channel text, url text, date_time timestamp, \
     extra text) APPEND ONLY",
];

/// Of q13: a table that does not change, 10,000 rows of it.
pub const SIDE_INPUT: &str = "CREATE TABLE side_input (key bigint, value text)";

/// Name, what it is, and its SQL.
pub const QUERIES: [(&str, &str, &str); 23] = [
    ("q0", "every bid", "SELECT auction, bidder, price, date_time, extra FROM bid"),
    (
        "q1",
        "every bid, its price converted",
        "SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid",
    ),
    ("q2", "bids for some auctions", "SELECT auction, price FROM bid WHERE auction % 123 = 0"),
    (
        "q3",
        "who sells in three states",
        "SELECT p.name, p.city, p.state, a.id FROM auction a JOIN person p ON a.seller = p.id \
         WHERE a.category = 10 AND p.state IN ('or', 'id', 'ca')",
    ),
    (
        "q4",
        "average of the highest bids by category",
        "SELECT category, avg(final) AS mean FROM (SELECT max(b.price) AS final, a.category FROM auction a JOIN bid b \
         ON a.id = b.auction WHERE b.date_time BETWEEN a.date_time AND a.expires GROUP BY a.id, a.category) q \
         GROUP BY category",
    ),
    (
        "q5",
        "the auctions with most bids, hopping windows of 10 s every 2 s",
        "WITH counts AS (SELECT auction, count(*) AS num, window_start \
         FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds') GROUP BY auction, window_start) \
         SELECT c.auction, c.num, c.window_start FROM counts c \
         JOIN (SELECT max(num) AS most, window_start FROM counts GROUP BY window_start) m \
         ON c.window_start = m.window_start AND c.num >= m.most",
    ),
    (
        "q6",
        "average of a seller's last ten highest bids",
        "SELECT seller, avg(final) OVER (PARTITION BY seller ORDER BY date_time ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) \
         AS mean FROM (SELECT a.seller, b.price AS final, b.date_time, \
         row_number() OVER (PARTITION BY a.id, a.seller ORDER BY b.price DESC) AS place FROM auction a JOIN bid b \
         ON a.id = b.auction WHERE b.date_time BETWEEN a.date_time AND a.expires) q WHERE place <= 1",
    ),
    (
        "q7",
        "the highest bids of each 10 s",
        "SELECT b.auction, b.price, b.bidder, b.date_time, b.extra FROM bid b JOIN (SELECT max(price) AS most, window_end \
         FROM TUMBLE(bid, date_time, INTERVAL '10 seconds') GROUP BY window_end) m ON b.price = m.most \
         WHERE b.date_time BETWEEN m.window_end - INTERVAL '10 seconds' AND m.window_end",
    ),
    (
        "q8",
        "new people who sell within 10 s",
        "SELECT p.id, p.name, p.window_start FROM (SELECT id, name, window_start, window_end \
         FROM TUMBLE(person, date_time, INTERVAL '10 seconds') GROUP BY id, name, window_start, window_end) p \
         JOIN (SELECT seller, window_start, window_end FROM TUMBLE(auction, date_time, INTERVAL '10 seconds') \
         GROUP BY seller, window_start, window_end) a \
         ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end",
    ),
    (
        "q9",
        "the winning bid of each auction",
        "SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra, auction, \
         bidder, price, bid_date_time, bid_extra FROM (SELECT a.*, b.auction, b.bidder, b.price, \
         b.date_time AS bid_date_time, b.extra AS bid_extra, \
         row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time) AS place FROM auction a JOIN bid b \
         ON a.id = b.auction WHERE b.date_time BETWEEN a.date_time AND a.expires) q WHERE place <= 1",
    ),
    (
        "q10",
        "every bid with its day and minute",
        "SELECT auction, bidder, price, date_time, extra, to_char(date_time, 'YYYY-MM-DD') AS day, \
         to_char(date_time, 'HH24:MI') AS minute FROM bid",
    ),
    (
        "q11",
        "bids of each user's session",
        "SELECT bidder, count(*) AS bid_count, window_start, window_end \
         FROM SESSION(bid, date_time, INTERVAL '10 seconds', bidder) GROUP BY bidder, window_start, window_end",
    ),
    (
        "q12",
        "bids of each user in 10 s of processing time",
        "SELECT bidder, count(*) AS bid_count, date_bin(INTERVAL '10 seconds', now(), TIMESTAMPTZ '2000-01-01') AS start \
         FROM bid GROUP BY 1, 3",
    ),
    (
        "q13",
        "bids joined with a table that does not change",
        "SELECT b.auction, b.bidder, b.price, b.date_time, s.value FROM bid b JOIN side_input s ON b.auction % 10000 = s.key",
    ),
    (
        "q14",
        "some bids, computed",
        "SELECT auction, bidder, 0.908 * price AS price, \
         CASE WHEN extract(hour FROM date_time) BETWEEN 8 AND 18 THEN 'day' \
         WHEN extract(hour FROM date_time) <= 6 OR extract(hour FROM date_time) >= 20 THEN 'night' ELSE 'other' END AS bid_time, \
         date_time, extra, length(extra) - length(replace(extra, 'c', '')) AS c_count FROM bid \
         WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000",
    ),
    (
        "q15",
        "bidders and auctions of each day",
        "SELECT to_char(date_time, 'YYYY-MM-DD') AS day, count(*) AS total_bids, \
         count(*) FILTER (WHERE price < 10000) AS rank1_bids, \
         count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids, \
         count(*) FILTER (WHERE price >= 1000000) AS rank3_bids, count(DISTINCT bidder) AS total_bidders, \
         count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders, \
         count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders, \
         count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders, \
         count(DISTINCT auction) AS total_auctions, \
         count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions, \
         count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_auctions, \
         count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions FROM bid GROUP BY 1",
    ),
    (
        "q16",
        "the same by channel",
        "SELECT channel, to_char(date_time, 'YYYY-MM-DD') AS day, max(to_char(date_time, 'HH24:MI')) AS minute, \
         count(*) AS total_bids, count(*) FILTER (WHERE price < 10000) AS rank1_bids, \
         count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids, \
         count(*) FILTER (WHERE price >= 1000000) AS rank3_bids, count(DISTINCT bidder) AS total_bidders, \
         count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders, \
         count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders, \
         count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders, \
         count(DISTINCT auction) AS total_auctions, \
         count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions, \
         count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_auctions, \
         count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions FROM bid GROUP BY 1, 2",
    ),
    (
        "q17",
        "prices of each auction and day",
        "SELECT auction, to_char(date_time, 'YYYY-MM-DD') AS day, count(*) AS total_bids, \
         count(*) FILTER (WHERE price < 10000) AS rank1_bids, \
         count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids, \
         count(*) FILTER (WHERE price >= 1000000) AS rank3_bids, min(price) AS min_price, max(price) AS max_price, \
         avg(price) AS avg_price, sum(price) AS sum_price FROM bid GROUP BY 1, 2",
    ),
    (
        "q18",
        "the last bid of each bidder for each auction",
        "SELECT auction, bidder, price, channel, url, date_time, extra FROM (SELECT *, \
         row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC) AS place FROM bid) q WHERE place <= 1",
    ),
    (
        "q19",
        "the ten highest bids of each auction",
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC) AS place FROM bid) q \
         WHERE place <= 10",
    ),
    (
        "q20",
        "bids with their auctions, of one category",
        "SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time, b.extra, a.item_name, a.description, \
         a.initial_bid, a.reserve, a.date_time AS auction_date_time, a.expires, a.seller, a.category, \
         a.extra AS auction_extra FROM bid b JOIN auction a ON b.auction = a.id WHERE a.category = 10",
    ),
    (
        "q21",
        "bids with their channel's number",
        "SELECT auction, bidder, price, channel, CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1' \
         WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3' ELSE (regexp_match(url, '(&|^)channel_id=([^&]*)'))[2] END \
         AS channel_id FROM bid WHERE url ~ '(&|^)channel_id=([^&]*)' \
         OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')",
    ),
    (
        "q22",
        "bids with the parts of their URL",
        "SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2, \
         split_part(url, '/', 6) AS dir3 FROM bid",
    ),
];
