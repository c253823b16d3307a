-- The words by which users and accounts are found, one row for each word of each. Triggers keep them, so no write can forget
-- them. Words begin with their ledger like every key, and a search by the beginning of a word is a stretch of the primary key:
-- that needs no extension, and it stops after as many rows as are wanted, which an inverted index does not.

CREATE TABLE search_words (
    ledger_id  bigint NOT NULL,
    id         bigint NOT NULL,
    kind       text NOT NULL,
    word       text COLLATE "C" NOT NULL,
    CONSTRAINT search_words_pkey PRIMARY KEY (ledger_id, word, kind, id),
    CONSTRAINT search_words_kind_known CHECK (kind IN ('user', 'account'))
);
CREATE INDEX search_words_of_one ON search_words (ledger_id, kind, id, word);  -- whether it has a further word as well

-- search_fold: a text without case and accents. What upper and lower case are outside ASCII is known to a collation with
-- Unicode's rules: PostgreSQL's own from 17 on, else ICU's where the server was built with it, else the database's default.
DO $$
DECLARE
    best text := (SELECT quote_ident(collname) FROM pg_collation
                  WHERE collname IN ('pg_c_utf8', 'und-x-icu') AND collencoding IN (-1, pg_char_to_encoding('UTF8'))
                  ORDER BY collname = 'pg_c_utf8' DESC LIMIT 1);
BEGIN
    EXECUTE format(
        $f$
        CREATE FUNCTION search_fold(p_text text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        RETURN lower(regexp_replace(normalize(p_text, NFKD), U&'[\0300-\036F]', '', 'g') COLLATE %s) COLLATE "C"
        $f$,
        coalesce(best, '"default"')
    );
END $$;

-- search_words_of: the words of a text, each once: what stands between white space and punctuation, up to 64 characters of it.
CREATE FUNCTION search_words_of(p_text text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ARRAY(SELECT DISTINCT left(word, 64) AS word
             FROM regexp_split_to_table(search_fold(p_text), U&'[\0001-/:-@[-`{-\00BF\2000-\206F\3000-\303F]+') AS word
             WHERE word <> '' ORDER BY word);

-- search_text: the strings in a JSON value, wherever in it they are, without the names of members.
CREATE FUNCTION search_text(p_value jsonb) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (SELECT coalesce(string_agg(value #>> '{}', ' '), '')
        FROM jsonb_path_query(p_value, 'strict $.** ? (@.type() == "string")') AS value);

CREATE FUNCTION keep_search_words() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_words text[] := '{}';
    new_words text[] := '{}';
    subject record := coalesce(NEW, OLD);
BEGIN
    IF TG_ARGV[0] = 'user' THEN
        IF TG_OP <> 'INSERT' THEN old_words := search_words_of(OLD.name || ' ' || OLD.email); END IF;
        IF TG_OP <> 'DELETE' THEN new_words := search_words_of(NEW.name || ' ' || NEW.email); END IF;
    ELSE
        IF TG_OP <> 'INSERT' THEN old_words := search_words_of(search_text(OLD.metadata)); END IF;
        IF TG_OP <> 'DELETE' THEN new_words := search_words_of(search_text(NEW.metadata)); END IF;
    END IF;
    IF old_words = new_words THEN
        RETURN NULL;
    END IF;
    DELETE FROM search_words
    WHERE ledger_id = subject.ledger_id AND kind = TG_ARGV[0] AND id = subject.id
      AND word = ANY (old_words) AND word <> ALL (new_words);
    INSERT INTO search_words (ledger_id, word, kind, id)
    SELECT subject.ledger_id, word, TG_ARGV[0], subject.id FROM unnest(new_words) AS word
    ON CONFLICT ON CONSTRAINT search_words_pkey DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER users_keep_search_words AFTER INSERT OR DELETE OR UPDATE OF name, email ON users
    FOR EACH ROW EXECUTE FUNCTION keep_search_words('user');
CREATE TRIGGER accounts_add_search_words AFTER INSERT ON accounts
    FOR EACH ROW WHEN (NEW.metadata <> '{}') EXECUTE FUNCTION keep_search_words('account');
CREATE TRIGGER accounts_keep_search_words AFTER UPDATE OF metadata ON accounts  -- which posting never names
    FOR EACH ROW WHEN (OLD.metadata <> NEW.metadata) EXECUTE FUNCTION keep_search_words('account');

INSERT INTO search_words (ledger_id, word, kind, id)
SELECT ledger_id, word, 'user', id FROM users, unnest(search_words_of(name || ' ' || email)) AS word
UNION ALL
SELECT ledger_id, word, 'account', id FROM accounts, unnest(search_words_of(search_text(metadata))) AS word
WHERE metadata <> '{}';
