# The server with its start page, and its state in a volume:
#   docker build -t headwater . && docker run -p 4400:4400 -v headwater:/data headwater
FROM denoland/deno:2.9.6
WORKDIR /app
COPY deno.json deno.lock ./
COPY protocol protocol
COPY server server
COPY adapters adapters
RUN deno install --frozen --entrypoint server/mod.ts \
  && mkdir /data && chown -R deno:deno /data /deno-dir
USER deno
ENV HOST=0.0.0.0 HEADWATER_KV=/data/state.db
VOLUME /data
EXPOSE 4400
HEALTHCHECK CMD ["deno", "eval", "if (!(await fetch('http://localhost:4400/api/v1/health')).ok) Deno.exit(1)"]
CMD ["task", "-q", "start"]
