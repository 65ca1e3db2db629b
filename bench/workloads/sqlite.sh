# needs: python3
# group: files
start
python3 - <<'P'
import sqlite3
db = sqlite3.connect("t.db")
db.execute("pragma journal_mode=wal")
db.execute("create table t(a integer primary key, b text)")
for i in range(2000):
    with db:
        db.execute("insert into t values(?, ?)", (i, "x" * 100))
assert db.execute("select sum(a) from t").fetchone() == (1999000,)
P
stop
