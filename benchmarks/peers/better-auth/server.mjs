// better-auth with its e-mail OTP plugin, as its documentation sets it up for Node: better-sqlite3 for the database,
// the mail not waited for, one process. `node server.mjs DATABASE MAIL-PORT` makes the tables where they are
// missing, prints its port and serves until its standard input ends. A third argument `wal` gives the database a
// write-ahead log, synced at every commit as the rollback journal is (better-sqlite3 would not sync it).

import { createServer } from "node:http";

import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { emailOTP } from "better-auth/plugins";
import Database from "better-sqlite3";
import { createTransport } from "nodemailer";

const [database, mailPort, journal] = process.argv.slice(2);

const store = new Database(database);
if (journal === "wal") {
  store.pragma("journal_mode = WAL");
  store.pragma("synchronous = FULL");
}

// As many connections as the gateway has; a pool, for the default connects anew for every mail.
const mail = createTransport({
  host: "127.0.0.1", port: Number(mailPort), secure: false, ignoreTLS: true, pool: true, maxConnections: 16,
});

const listener = createServer();
await new Promise((done) => listener.listen(0, "127.0.0.1", 2048, done));
const { port } = listener.address();

const options = {
  baseURL: `http://127.0.0.1:${port}`,
  database: store,
  // Its limit is three requests a minute from one address, and all of ours come from one.
  rateLimit: { enabled: false },
  plugins: [
    emailOTP({
      // Codes that are made beforehand must outlive all rounds.
      expiresIn: 24 * 3600,
      async sendVerificationOTP({ email, otp }) {
        void mail
          .sendMail({ from: "codes@example.org", to: email, subject: "Your code", text: `${otp} is your code.` })
          .catch((error) => console.error(error.message));
      },
    }),
  ],
};

await (await getMigrations(options)).runMigrations();
listener.on("request", toNodeHandler(betterAuth(options)));
console.log(port);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
