/** That the HTTP servers of frameworks fit, by their own types: compiled, not run. */
import { createServer } from "@headwater/sync/server";
import { serve } from "@hono/node-server";
// @ts-types="@types/express"
import express from "express";
import Fastify from "fastify";
import { Hono } from "hono";

const server = createServer({ kv: ":memory:" });
await server.attach(express().listen(0));
const app = Fastify();
await server.attach(app.server, { path: "/sync" });
await server.attach(serve(new Hono()));
// @ts-expect-error: an application is no HTTP server
await server.attach(app);
